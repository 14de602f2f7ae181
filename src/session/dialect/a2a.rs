//! A2A's streams over JSON-RPC (a2a-protocol.org, "Streaming"): each event is a response to the same request.

use std::sync::LazyLock;

use super::json_rpc::is_message;
use super::{Answer, Dialect, Finder, Heartbeat, Json, Member, OnBreak, Seen};

/// A2A over JSON-RPC, versions 0.3 and 1.0.
pub static A2A: Dialect = Dialect {
    name: "a2a",
    title: "A2A over JSON-RPC",
    paths: &[],
    signs: &["\"jsonrpc\""],
    is_sign,
    type_member: "",
    types: &[],
    members: LazyLock::new(|| Finder::new(&[Member::Set("jsonrpc")])),
    ends_with_done: false,
    read,
    requires_end: true,
    on_break: OnBreak::JsonRpc,
    heartbeat: Heartbeat::Comment,
    columns: [
        "`final:true`, a terminal state of the task, or a message",
        "a JSON-RPC error",
        "the first artifact or message",
        "",
    ],
};

/// Whether this is a JSON-RPC method that A2A answers with a stream, in any version of the protocol.
pub fn is_method(method: &str) -> bool {
    const METHODS: [&str; 4] =
        ["message/stream", "tasks/resubscribe", "SendStreamingMessage", "SubscribeToTask"];
    METHODS.contains(&method)
}

/// The kinds of result: the value of `kind` in version 0.3, and the name of the member in version 1.0.
const KINDS: [(&str, &str); 4] = [
    ("status-update", "statusUpdate"),
    ("artifact-update", "artifactUpdate"),
    ("task", "task"),
    ("message", "message"),
];

/// The kind of a result, in terms of version 0.3, and the object with its content.
fn kind<'a>(result: &'a Json<'a>) -> Option<(&'static str, &'a Json<'a>)> {
    KINDS.into_iter().find_map(|(kind, member)| match result["kind"].as_str() {
        Some(name) => (name == kind).then_some((kind, result)),
        None => result.get(member).filter(|inner| inner.is_object()).map(|inner| (kind, inner)),
    })
}

fn is_sign(event: &Seen) -> bool {
    is_message(event.data) && kind(&event.data["result"]).is_some()
}

fn read(event: &Seen, answer: &mut Answer) {
    let message = event.data;
    if !is_message(message) {
        return;
    }
    answer.requests.learn(&message["id"]);
    if message.get("error").is_some() {
        (answer.has_error, answer.progress) = (true, super::Progress::Ended);
    }
    let Some((kind, result)) = kind(&message["result"]) else { return };
    answer.has_content |= matches!(kind, "artifact-update" | "message");
    let state = result["status"]["state"].as_str().unwrap_or_default();
    let state = state.trim_start_matches("TASK_STATE_").to_ascii_lowercase();
    match state.as_str() {
        _ if kind == "message" || result["final"] == true => answer.end(),
        "completed" | "failed" | "rejected" | "canceled" | "cancelled" => answer.end(),
        // The task waits for its client, so the stream ends here.
        "input-required" | "input_required" | "auth-required" | "auth_required" => answer.finish(),
        _ => {}
    }
}
