//! What a request says of the stream that answers it.

use super::dialect::{self, Dialect, Heartbeat, JsonRpcRequests, MCP};

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// What the answer speaks, as far as the request tells.
    pub dialect: Option<&'static Dialect>,
    /// The JSON-RPC requests that it answers.
    pub requests: JsonRpcRequests,
    /// Nothing was asked that an event would be the answer to: somebody listens.
    pub listens: bool,
    /// It is MCP that is listened to.
    pub listens_to_mcp: bool,
}

impl Asked {
    /// By a GET. `is_mcp`: it has the fields of an MCP client.
    pub fn of_listener(is_mcp: bool) -> Self {
        Self { dialect: is_mcp.then_some(&MCP), listens: true, listens_to_mcp: is_mcp, ..Self::default() }
    }

    /// By any other request. `body`: if that was small enough to be kept.
    pub fn of_request(path: &str, is_mcp: bool, body: Option<&[u8]>) -> Self {
        if let Some((dialect, requests)) = body.and_then(JsonRpcRequests::of_request) {
            let dialect = dialect.or(is_mcp.then_some(&MCP));
            return Self { dialect, requests, ..Self::default() };
        }
        let dialect = if is_mcp { Some(&MCP) } else { dialect::of_path(path) };
        Self { dialect, ..Self::default() }
    }

    /// What fills a silence before the first event.
    pub fn heartbeat(&self) -> Heartbeat {
        self.dialect.map_or(Heartbeat::Comment, |dialect| dialect.heartbeat)
    }
}
