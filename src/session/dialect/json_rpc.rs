//! JSON-RPC 2.0 messages, in which MCP and A2A stream.

use serde_json::Value;

use super::{A2A, Dialect, Json, MCP};

/// The requests that a stream still has to answer. Empty where they are not known: a stream opened by GET, or a request that could
/// not be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JsonRpcRequests {
    open: Vec<Value>,
    /// Whether there were any at the beginning.
    has_any: bool,
}

impl JsonRpcRequests {
    /// Reads the body of a request, a JSON-RPC message or a batch of them, and what it asks for. `None` if it is neither.
    /// Others than MCP and A2A use JSON-RPC too, and what they are answered in is learned.
    pub fn of_request(body: &[u8]) -> Option<(Option<&'static Dialect>, Self)> {
        // Prompts are long, and most are in no JSON-RPC.
        memchr::memmem::find(body, b"\"jsonrpc\"")?;
        let body: Json = serde_json::from_slice(body).ok()?;
        let messages = messages(&body);
        if messages.is_empty() || !messages.iter().all(is_message) {
            return None;
        }
        let requests = || {
            messages.iter().filter(|m| m["method"].is_string() && m.get("id").is_some_and(|id| !id.is_null()))
        };
        let is_any = |is: fn(&str) -> bool| messages.iter().any(|m| m["method"].as_str().is_some_and(is));
        let dialect = match (is_any(super::a2a::is_method), is_any(super::mcp::is_method)) {
            (true, _) => Some(&A2A),
            (_, true) => Some(&MCP),
            _ => None,
        };
        let open: Vec<Value> = requests().map(|request| request["id"].to_value()).collect();
        Some((dialect, Self { has_any: !open.is_empty(), open }))
    }

    /// The ids of the requests that are not answered.
    pub fn open(&self) -> &[Value] {
        &self.open
    }

    /// Whether there were any, and all are answered.
    pub fn are_answered(&self) -> bool {
        self.has_any && self.open.is_empty()
    }

    /// Takes an answer to one of them.
    pub fn answer(&mut self, id: &Json) {
        let id = id.to_value();
        self.open.retain(|open| *open != id);
    }

    /// Notes that what comes answers this request, where none is known.
    pub fn learn(&mut self, id: &Json) {
        if !self.has_any && !id.is_null() {
            (self.open, self.has_any) = (vec![id.to_value()], true);
        }
    }
}

/// Whether this is a JSON-RPC message.
pub fn is_message(value: &Json) -> bool {
    value.get("jsonrpc").is_some_and(|version| *version == "2.0")
}

/// The messages of a batch, or the one that it is.
pub fn messages<'a>(value: &'a Json<'a>) -> &'a [Json<'a>] {
    match value {
        Json::Array(batch) => batch,
        one => std::slice::from_ref(one),
    }
}
