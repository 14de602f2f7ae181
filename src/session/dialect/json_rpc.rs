//! JSON-RPC 2.0, on which MCP and A2A are based.

use serde_json::Value;

use super::{A2A, Dialect, Json, MCP};

/// The requests that a stream must still answer. Empty if they are not known: after a GET, or if the body was not read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JsonRpcRequests {
    /// The ids of the open requests.
    open: Vec<Value>,
    /// There were requests at the beginning.
    has_any: bool,
}

impl JsonRpcRequests {
    /// Reads the body of a request: a JSON-RPC message or a batch of them. `None`: it is neither.
    ///
    /// Returns the dialect too, if the methods reveal it. Other protocols use JSON-RPC as well.
    pub fn of_request(body: &[u8]) -> Option<(Option<&'static Dialect>, Self)> {
        // Most bodies are long prompts without JSON-RPC. Do not parse them.
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

    /// The ids of the requests without a response.
    pub fn open(&self) -> &[Value] {
        &self.open
    }

    /// Whether there were requests, and all of them have a response.
    pub fn are_answered(&self) -> bool {
        self.has_any && self.open.is_empty()
    }

    /// Notes the response to a request.
    pub fn answer(&mut self, id: &Json) {
        let id = id.to_value();
        self.open.retain(|open| *open != id);
    }

    /// If no requests are known, notes that the stream answers this one.
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

/// The messages of a batch, or the single message.
pub fn messages<'a>(value: &'a Json<'a>) -> &'a [Json<'a>] {
    match value {
        Json::Array(batch) => batch,
        one => std::slice::from_ref(one),
    }
}
