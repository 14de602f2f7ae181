//! OpenAI's Assistants (platform.openai.com/docs/api-reference/assistants-streaming).

use std::sync::LazyLock;

use super::{Answer, Dialect, Finder, Heartbeat, Member, OnBreak, Seen, has_text};

/// The events with which a run ends or waits for its client.
const ENDS: [&str; 7] = [
    "thread.run.completed",
    "thread.run.failed",
    "thread.run.cancelled",
    "thread.run.expired",
    "thread.run.incomplete",
    "thread.run.requires_action",
    "done",
];

/// OpenAI's Assistants.
pub static ASSISTANTS: Dialect = Dialect {
    name: "assistants",
    title: "OpenAI's Assistants",
    paths: &["/threads/runs", "/submit_tool_outputs"],
    signs: &["\"thread.", "\"thread\""],
    is_sign,
    type_member: "",
    types: &ENDS,
    members: LazyLock::new(|| Finder::new(&[Member::Set("error")])),
    ends_with_done: true,
    read,
    requires_end: true,
    on_break: OnBreak::Superset,
    heartbeat: Heartbeat::Comment,
    columns: [
        "`thread.run.` and `completed`, `failed`, `cancelled`, `expired`, `incomplete` or `requires_action`; `done`",
        "`error` event, `thread.run.failed`",
        "`thread.message.delta`",
        "the run's `usage`",
    ],
};

fn is_sign(event: &Seen) -> bool {
    event.kind.starts_with(b"thread.")
        && event.data["object"].as_str().is_some_and(|object| object.starts_with("thread"))
}

fn read(event: &Seen, answer: &mut Answer) {
    answer.has_content |= event.kind == b"thread.message.delta" && has_text(&event.data["delta"]["content"]);
    if event.is_any(&ENDS) {
        answer.finish();
        answer.has_error |= event.kind == b"thread.run.failed";
        let usage = &event.data["usage"];
        answer.count(usage["prompt_tokens"].as_u64(), usage["completion_tokens"].as_u64());
    }
}
