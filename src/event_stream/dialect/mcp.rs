//! MCP's streamable HTTP (modelcontextprotocol.io, "Transports"): JSON-RPC 2.0 messages.

use serde_json::Value;

use super::Meaning;

/// The ids of the requests that a stream still has to answer. Empty where they are not known: a stream opened by GET, or
/// a request that could not be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OpenRequests(Vec<Value>);

impl OpenRequests {
    /// Reads the body of a request: a JSON-RPC message or a batch of them. `None` if it is neither.
    pub fn of_request(body: &[u8]) -> Option<Self> {
        // Prompts are long, and most are not for MCP.
        memchr::memmem::find(body, b"\"jsonrpc\"")?;
        let body: Value = serde_json::from_slice(body).ok()?;
        let messages = messages(&body);
        let are_messages = !messages.is_empty() && messages.iter().all(is_message);
        let ids = messages.iter().filter(|m| m.get("method").is_some()).filter_map(|m| m.get("id"));
        are_messages.then(|| Self(ids.filter(|id| !id.is_null()).cloned().collect()))
    }

    pub fn ids(&self) -> &[Value] {
        &self.0
    }

    /// Reads one event: a response answers its request.
    pub fn read(&mut self, data: &[u8]) -> Meaning {
        let Ok(data) = serde_json::from_slice::<Value>(data) else { return Meaning::default() };
        let mut meaning = Meaning::default();
        for message in messages(&data).iter().filter(|message| is_message(message)) {
            let failed = message.get("error").is_some();
            if failed || message.get("result").is_some() {
                meaning.content = true;
                meaning.error |= failed;
                self.0.retain(|open| Some(open) != message.get("id"));
            }
        }
        meaning
    }
}

/// Whether this is a JSON-RPC message.
pub fn is_message(value: &Value) -> bool {
    value.get("jsonrpc").is_some_and(|version| version == "2.0")
}

fn messages(value: &Value) -> &[Value] {
    match value {
        Value::Array(batch) => batch,
        one => std::slice::from_ref(one),
    }
}
