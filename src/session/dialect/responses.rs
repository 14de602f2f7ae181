//! OpenAI's Responses (platform.openai.com/docs/api-reference/responses-streaming).

use std::sync::LazyLock;

use super::{Answer, Dialect, Finder, Heartbeat, Member, OnBreak, Seen, has_text};

/// The events that end an answer.
const ENDS: [&str; 6] = [
    "response.completed",
    "response.incomplete",
    "response.failed",
    "response.cancelled",
    "response.canceled",
    "response.done",
];

/// The words that follow `response.` in the types of events. A check for the prefix alone would match applications' events.
const FAMILIES: [&str; 22] = [
    "created",
    "queued",
    "in_progress",
    "output_item",
    "content_part",
    "output_text",
    "refusal",
    "function_call_arguments",
    "custom_tool_call_input",
    "file_search_call",
    "web_search_call",
    "image_generation_call",
    "code_interpreter_call",
    "code_interpreter_call_code",
    "mcp_call",
    "mcp_call_arguments",
    "mcp_list_tools",
    "reasoning_summary_part",
    "reasoning_summary_text",
    "reasoning_text",
    "audio",
    "output_text_annotation",
];

/// OpenAI's Responses.
pub static RESPONSES: Dialect = Dialect {
    name: "responses",
    title: "OpenAI's Responses",
    paths: &["/v1/responses"],
    signs: &["response."],
    is_sign,
    type_member: "type",
    types: &ENDS,
    members: LazyLock::new(|| Finder::new(&[Member::Set("error")])),
    ends_with_done: false,
    read,
    requires_end: true,
    on_break: OnBreak::Superset,
    heartbeat: Heartbeat::Comment,
    columns: [
        "`response.completed`, `.incomplete`, `.failed`, `.cancelled`, `.done`",
        "`error` event or member, `response.failed`",
        "a `….delta` that is not empty",
        "`response.usage`",
    ],
};

fn is_sign(event: &Seen) -> bool {
    let name = std::str::from_utf8(event.kind).ok().and_then(|kind| kind.strip_prefix("response."));
    let is_known = name.is_some_and(|name| {
        let family = name.split('.').next().unwrap_or_default();
        FAMILIES.contains(&family) || ENDS.iter().any(|end| end.strip_prefix("response.") == Some(name))
    });
    let (data, response) = (event.data, &event.data["response"]);
    const OF_RESPONSE: [&str; 5] = ["object", "status", "output", "usage", "model"];
    const OF_PART: [&str; 4] = ["sequence_number", "delta", "item", "item_id"];
    is_known
        && event.says_type()
        && (OF_RESPONSE.iter().any(|member| response.get(member).is_some())
            || OF_PART.iter().any(|member| data.get(member).is_some()))
}

fn read(event: &Seen, answer: &mut Answer) {
    if event.is_any(&ENDS) {
        answer.end();
        answer.has_error |= event.kind == b"response.failed";
    }
    answer.has_content |= event.kind.ends_with(b".delta") && has_text(&event.data["delta"]);
    let usage = &event.data["response"]["usage"];
    answer.count(usage["input_tokens"].as_u64(), usage["output_tokens"].as_u64());
}
