//! Dialects: the streaming formats of LLM backends, described as data.
//!
//! A [`Dialect`] knows just enough of its format to tell whether an answer is complete, which event has the first content,
//! how many tokens the backend counted, and whether it reported an error. It never changes a payload. docs/dialects.md
//! explains how to add one.

mod a2a;
mod ag_ui;
mod ai_sdk_ui;
mod answer;
mod anthropic;
mod assistants;
mod cohere;
mod dify;
mod finder;
mod gemini;
mod generic;
mod json_rpc;
mod llama_cpp;
mod mcp;
mod ollama;
mod openai;
mod openai_media;
mod responses;
mod tgi;

use std::sync::LazyLock;

use serde_json::Value;

pub use a2a::A2A;
pub use ai_sdk_ui::AI_SDK_UI;
pub use answer::{Answer, Progress, Usage, has_text, is_set};
pub use finder::{Finder, Member, Words};
pub use generic::{GENERIC, NO_CONTENT};
pub use json_rpc::JsonRpcRequests;
pub use mcp::MCP;

pub use super::json_value::Json;

/// All dialects that can be recognized. The first one that matches an event wins, so the stricter ones come first.
pub static ALL: [&Dialect; 15] = [
    &openai::OPENAI,
    &responses::RESPONSES,
    &anthropic::ANTHROPIC,
    &gemini::GEMINI,
    &cohere::COHERE,
    &tgi::TGI,
    &llama_cpp::LLAMA_CPP,
    &ai_sdk_ui::AI_SDK_UI,
    &ag_ui::AG_UI,
    &assistants::ASSISTANTS,
    &openai_media::OPENAI_MEDIA,
    &ollama::OLLAMA,
    &a2a::A2A,
    &mcp::MCP,
    &dify::DIFY,
];

/// A streaming format.
pub struct Dialect {
    /// The name in the configuration, the log and the documentation.
    pub name: &'static str,
    /// What it is, for the documentation.
    pub title: &'static str,
    /// Suffixes of the request paths that imply this dialect.
    pub paths: &'static [&'static str],
    /// Words for a quick search. Every event that [`Self::is_sign`] accepts contains at least one of them, in its data or
    /// its name. Other events are not parsed for recognition.
    pub signs: &'static [&'static str],
    /// Whether an event identifies the dialect. Strict: a name or type alone is not enough, because applications use the
    /// same ones.
    pub is_sign: fn(&Seen) -> bool,
    /// The member of the data that holds the type of an event without a name. Empty: there is none.
    pub type_member: &'static str,
    /// The types of event that matter after the first content. Empty if events have no types.
    pub types: &'static [&'static str],
    /// The members that matter after the first content, at any depth.
    pub members: LazyLock<Finder>,
    /// `[DONE]` is the terminal event.
    pub ends_with_done: bool,
    /// Reads an event that may matter. The session itself handles `error` members and events named `error`.
    pub read: fn(&Seen, &mut Answer),
    /// Whether an answer without its end is truncated.
    pub requires_end: bool,
    /// How to end a stream after a failure of the backend, so that the clients of the dialect raise an error.
    pub on_break: OnBreak,
    /// What a heartbeat is.
    pub heartbeat: Heartbeat,
    /// For the documentation: the end of an answer, errors, content, and usage. Markdown.
    pub columns: [&'static str; 4],
}

/// How to end a stream after a failure of the backend.
#[derive(Clone, Copy)]
pub enum OnBreak {
    /// With the error event that every LLM SDK raises as a typed error, and a clean end.
    Superset,
    /// With a JSON-RPC error response to each open request, and a clean end.
    JsonRpc,
    /// With an error event in the dialect's own format.
    Own {
        /// Renders the data of the event from the code and the message.
        data: fn(&str, &str) -> Value,
        /// How to end the response afterwards.
        close: OwnClose,
    },
    /// With the error event of `Superset` and a broken connection: its clients have no errors, or are not known.
    Break,
}

/// How to end the response after an error event in the dialect's own format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnClose {
    /// Cleanly: every client raises an error on the event.
    Clean,
    /// With a broken connection: not every client raises an error on the event.
    Break,
    /// With a broken connection if the backend's connection broke, or else cleanly: clients report the event, but not all
    /// of them treat it as a failure.
    AsBackend,
}

/// What a client accepts between events as a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// A comment without a blank line. A blank line makes several clients dispatch an empty event once they have seen an
    /// `id`.
    Comment,
    /// A blank line, for clients that treat a comment as an event.
    BlankLine,
}

/// A parsed event, as a dialect sees it.
pub struct Seen<'a> {
    /// The type: its name, or else the value of [`Dialect::type_member`]. Empty if it has neither.
    pub kind: &'a [u8],
    /// The data, or null if that is not JSON.
    pub data: &'a Json<'a>,
}

impl Seen<'_> {
    /// Whether the event has one of these types.
    pub fn is_any(&self, kinds: &[&str]) -> bool {
        kinds.iter().any(|kind| kind.as_bytes() == self.kind)
    }

    /// Whether the member `type` of the data equals the type of the event.
    pub fn says_type(&self) -> bool {
        self.data["type"].as_str().is_some_and(|kind| kind.as_bytes() == self.kind)
    }
}

impl PartialEq for Dialect {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Dialect {}

impl std::fmt::Debug for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The dialect that the path of a request implies.
pub fn of_path(path: &str) -> Option<&'static Dialect> {
    ALL.into_iter().find(|dialect| dialect.paths.iter().any(|end| path.ends_with(end)))
}

/// The table in docs/dialects.md, as Markdown.
pub fn table() -> String {
    let head = "| dialect | end of an answer | errors of the backend | content (time to first token) | usage | end after a failure |\n\
                |---|---|---|---|---|---|\n";
    let rows = ALL.into_iter().chain([&GENERIC]).map(|dialect| {
        let [end, errors, content, usage] = dialect.columns;
        let on_break = match dialect.on_break {
            OnBreak::Superset => "the error event, a clean end",
            OnBreak::JsonRpc => "a JSON-RPC error for each open request, a clean end",
            OnBreak::Own { close: OwnClose::Clean, .. } => "an error event of the dialect, a clean end",
            OnBreak::Own { close: OwnClose::Break, .. } => "an error event of the dialect, a broken connection",
            OnBreak::Own { close: OwnClose::AsBackend, .. } => {
                "an error event of the dialect; a broken connection if the backend's broke, otherwise a clean end"
            }
            OnBreak::Break => "the error event, a broken connection",
        };
        format!(
            "| `{}`: {} | {end} | {errors} | {content} | {usage} | {on_break} |\n",
            dialect.name, dialect.title
        )
    });
    head.to_owned() + &rows.collect::<String>()
}
