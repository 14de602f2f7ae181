//! OpenAI's streams of images, transcriptions and speech (platform.openai.com/docs/api-reference, "Images", "Audio").

use std::sync::LazyLock;

use super::{Answer, Dialect, Finder, Heartbeat, Member, OnBreak, Seen};

/// The events that end an answer.
const ENDS: [&str; 4] =
    ["image_generation.completed", "image_edit.completed", "transcript.text.done", "speech.audio.done"];
/// The events with a part of the answer.
const PARTS: [&str; 5] = [
    "image_generation.partial_image",
    "image_edit.partial_image",
    "transcript.text.delta",
    "transcript.text.segment",
    "speech.audio.delta",
];

/// OpenAI's images, transcriptions and speech.
pub static OPENAI_MEDIA: Dialect = Dialect {
    name: "openai_media",
    title: "OpenAI's images, transcriptions, speech",
    paths: &[
        "/images/generations",
        "/images/edits",
        "/audio/transcriptions",
        "/audio/translations",
        "/audio/speech",
    ],
    signs: &["image_generation.", "image_edit.", "transcript.text.", "speech.audio."],
    is_sign,
    type_member: "type",
    types: &ENDS,
    members: LazyLock::new(|| Finder::new(&[Member::Set("error")])),
    ends_with_done: false,
    read,
    requires_end: true,
    on_break: OnBreak::Superset,
    heartbeat: Heartbeat::Comment,
    columns: ["`….completed`, `….done`", "`error` event or member", "the first part", "`usage`"],
};

fn is_sign(event: &Seen) -> bool {
    (event.is_any(&ENDS) || event.is_any(&PARTS)) && event.says_type()
}

fn read(event: &Seen, answer: &mut Answer) {
    answer.has_content |= is_sign(event);
    if event.is_any(&ENDS) {
        answer.end();
        let usage = &event.data["usage"];
        answer.count(usage["input_tokens"].as_u64(), usage["output_tokens"].as_u64());
    }
}
