//! MCP's streamable HTTP (modelcontextprotocol.io, "Transports"): JSON-RPC 2.0 messages.

use std::sync::LazyLock;

use super::json_rpc::{is_message, messages};
use super::{Answer, Dialect, Finder, Heartbeat, Member, OnBreak, Seen};

/// MCP's streamable HTTP.
pub static MCP: Dialect = Dialect {
    name: "mcp",
    title: "MCP's streamable HTTP",
    paths: &[],
    signs: &["\"jsonrpc\""],
    is_sign: |event| messages(event.data).iter().any(is_message),
    type_member: "",
    types: &[],
    members: LazyLock::new(|| Finder::new(&[Member::Set("jsonrpc")])),
    ends_with_done: false,
    read,
    requires_end: true,
    on_break: OnBreak::JsonRpc,
    heartbeat: Heartbeat::Comment,
    columns: ["an answer to each request of the body", "a JSON-RPC error", "the first answer", ""],
};

/// Whether this is one of MCP's JSON-RPC methods.
pub fn is_method(method: &str) -> bool {
    const FAMILIES: [&str; 11] = [
        "completion",
        "elicitation",
        "logging",
        "notifications",
        "prompts",
        "resources",
        "roots",
        "sampling",
        "tasks",
        "tools",
        "server",
    ];
    matches!(method, "initialize" | "ping")
        || method.split_once('/').is_some_and(|(family, _)| FAMILIES.contains(&family))
}

/// Each response answers the request with its id. Requests and notifications from the server answer nothing.
fn read(event: &Seen, answer: &mut Answer) {
    for message in messages(event.data).iter().filter(|message| is_message(message)) {
        let is_error = message.get("error").is_some();
        if is_error || message.get("result").is_some() {
            answer.has_content |= !is_error;
            answer.has_error |= is_error;
            answer.requests.answer(&message["id"]);
            if answer.requests.are_answered() {
                answer.end();
            }
        }
    }
}
