//! What the events of a stream mean: the formats in which LLM backends stream, as data.
//!
//! Enough of each is known to tell whether an answer is whole, which event is the first with content, what the backend counts, and
//! whether it reports an error itself. Payloads are never changed. docs/dialects.md tells how to add one.

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

/// Every dialect that is learned from events, in the order in which they are asked.
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

/// A format in which backends stream.
pub struct Dialect {
    /// In the configuration, in the log and in the documents.
    pub name: &'static str,
    /// What it is, for the documents.
    pub title: &'static str,
    /// Ends of the paths of requests that ask for it.
    pub paths: &'static [&'static str],
    /// Words, at least one of which is in each event that gives it away. The event is looked at only if one is.
    pub signs: &'static [&'static str],
    /// Whether an event gives it away. Strict: a name alone is no sign, because applications use the same ones.
    pub is_sign: fn(&Seen) -> bool,
    /// The member of an event's data that says its type, where the event has no name.
    pub type_member: &'static str,
    /// Types of event that matter after the first content; empty where events have no types.
    pub types: &'static [&'static str],
    /// Members that matter after the first content, wherever they are in an event.
    pub members: LazyLock<Finder>,
    /// `[DONE]` ends a stream.
    pub ends_with_done: bool,
    /// Reads an event that may matter. `error` members and events of that name are known without it.
    pub read: fn(&Seen, &mut Answer),
    /// Whether an answer that lacks its end is truncated.
    pub requires_end: bool,
    /// What its clients raise on.
    pub on_break: OnBreak,
    pub heartbeat: Heartbeat,
    /// What ends an answer, what is an error, what is content, and where usage stands: for the documents.
    pub columns: [&'static str; 4],
}

/// How a stream ends whose backend broke.
#[derive(Clone, Copy)]
pub enum OnBreak {
    /// With the event that every LLM SDK raises as a typed error, and cleanly.
    Superset,
    /// With an error response to each open request, and cleanly.
    JsonRpc,
    /// With an event of the dialect's own. `data` is given the code and the message.
    Own { data: fn(&str, &str) -> Value, close: OwnClose },
    /// With the event of `Superset`, and then with a broken connection: its clients know no error, or nobody knows its clients.
    Break,
}

/// How a stream ends after an event of its dialect's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnClose {
    /// Cleanly: every client raises on the event.
    Clean,
    /// With a broken connection: not every client raises on the event.
    Break,
    /// With a broken connection if the backend's own broke: clients report the event, and only some see a failure in it.
    AsBackend,
}

/// What may stand between events to fill a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// A comment. No blank line follows it: that makes several clients dispatch an empty event once an `id` was seen.
    Comment,
    /// A blank line, where clients take a comment for an event.
    BlankLine,
}

/// An event that is looked at.
pub struct Seen<'a> {
    /// Its name, or else the type that its data says; empty if it has neither.
    pub kind: &'a [u8],
    /// Its data, if that is JSON.
    pub data: &'a Json<'a>,
}

impl Seen<'_> {
    /// Whether it is of one of these types.
    pub fn is_any(&self, kinds: &[&str]) -> bool {
        kinds.iter().any(|kind| kind.as_bytes() == self.kind)
    }

    /// Whether the data says the same type as the name, or is all that says one.
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

/// The dialect that a request to this path asks for.
pub fn of_path(path: &str) -> Option<&'static Dialect> {
    ALL.into_iter().find(|dialect| dialect.paths.iter().any(|end| path.ends_with(end)))
}

/// The table of docs/dialects.md.
pub fn table() -> String {
    let head = "| dialect | an answer ends with | its own errors | content (time to first token) | usage | a break ends with |\n\
                |---|---|---|---|---|---|\n";
    let rows = ALL.into_iter().chain([&GENERIC]).map(|dialect| {
        let [end, errors, content, usage] = dialect.columns;
        let on_break = match dialect.on_break {
            OnBreak::Superset => "the error event, a clean end",
            OnBreak::JsonRpc => "a JSON-RPC error for each open request, a clean end",
            OnBreak::Own { close: OwnClose::Clean, .. } => "its own event, a clean end",
            OnBreak::Own { close: OwnClose::Break, .. } => "its own event, a broken connection",
            OnBreak::Own { close: OwnClose::AsBackend, .. } => {
                "its own event; a broken connection if the backend's broke, or else a clean end"
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
