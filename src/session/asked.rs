//! What a request reveals about the stream that answers it.

use super::dialect::{self, Dialect, Heartbeat, JsonRpcRequests, MCP};

/// What a request reveals about its response.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The expected dialect, if the path or the body tells. Events can override it.
    pub dialect: Option<&'static Dialect>,
    /// The JSON-RPC requests in the body, which the stream must answer.
    pub requests: JsonRpcRequests,
    /// A GET that subscribes to events. No event answers it, so a long silence is normal.
    pub listens: bool,
    /// The subscription is that of an MCP client.
    pub listens_to_mcp: bool,
}

impl Asked {
    /// For a GET. `is_mcp`: it has the header fields of an MCP client.
    pub fn of_listener(is_mcp: bool) -> Self {
        Self { dialect: is_mcp.then_some(&MCP), listens: true, listens_to_mcp: is_mcp, ..Self::default() }
    }

    /// For any other method. `body`: `None` if it was too large to be kept.
    pub fn of_request(path: &str, is_mcp: bool, body: Option<&[u8]>) -> Self {
        if let Some((dialect, requests)) = body.and_then(JsonRpcRequests::of_request) {
            let dialect = dialect.or(is_mcp.then_some(&MCP));
            return Self { dialect, requests, ..Self::default() };
        }
        let dialect = if is_mcp { Some(&MCP) } else { dialect::of_path(path) };
        Self { dialect, ..Self::default() }
    }

    /// The heartbeat to use before the first event.
    pub fn heartbeat(&self) -> Heartbeat {
        self.dialect.map_or(Heartbeat::Comment, |dialect| dialect.heartbeat)
    }
}
