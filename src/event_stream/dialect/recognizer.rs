//! Learns the dialect of a stream, and follows the answer to its end.

use std::borrow::Cow;

use serde_json::Value;

use super::mcp::{self, OpenRequests};
use super::{Dialect, Meaning, Progress, Usage, anthropic, chat, ollama, responses};
use crate::event_stream::event::Event;

/// Events after which a stream that fits no dialect is taken for a generic one.
const UNDECIDED: u8 = 8;

/// What is known of an answer.
#[derive(Clone, Debug)]
pub struct Recognizer {
    /// `None` as long as it is to be learned.
    dialect: Option<Dialect>,
    /// Events that may still decide it.
    undecided: u8,
    progress: Progress,
    has_content: bool,
    has_error: bool,
    usage: Usage,
    open: OpenRequests,
    /// Whether it was known at the beginning which requests are to be answered.
    answers_requests: bool,
}

impl Recognizer {
    /// `dialect`: what the stream speaks, if that is known. `open`: the JSON-RPC requests that it answers, if there
    /// are any; then an unknown dialect is MCP's.
    pub fn new(dialect: Option<Dialect>, open: Option<OpenRequests>) -> Self {
        let open = open.unwrap_or_default();
        let answers_requests = !open.ids().is_empty();
        Self {
            dialect: dialect.or(answers_requests.then_some(Dialect::Mcp)),
            undecided: UNDECIDED,
            progress: Progress::Open,
            has_content: false,
            has_error: false,
            usage: Usage::default(),
            open,
            answers_requests,
        }
    }

    /// Takes the next event.
    pub fn observe(&mut self, event: &Event) {
        let meaning = match self.dialect {
            Some(dialect) => self.read(dialect, event),
            None => self.learn(event),
        };
        self.has_content |= meaning.content;
        self.has_error |= meaning.error;
        self.progress = self.progress.max(meaning.progress);
        if let Some(usage) = meaning.usage {
            self.usage.input_tokens = usage.input_tokens.or(self.usage.input_tokens);
            self.usage.output_tokens = usage.output_tokens.or(self.usage.output_tokens);
        }
    }

    /// What the stream speaks, as far as is known.
    pub fn dialect(&self) -> Dialect {
        self.dialect.unwrap_or(Dialect::Generic)
    }

    /// Whether an event with content was there.
    pub fn has_content(&self) -> bool {
        self.has_content
    }

    /// Whether the backend has reported an error itself.
    pub fn has_error(&self) -> bool {
        self.has_error
    }

    /// What the backend has counted so far.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// The requests that are not answered yet.
    pub fn open_requests(&self) -> &[Value] {
        self.open.ids()
    }

    /// Whether nothing is missing if the stream ends here.
    pub fn may_end(&self) -> bool {
        match self.dialect() {
            Dialect::Generic => true,
            Dialect::Mcp => self.open.ids().is_empty(),
            Dialect::OpenAi | Dialect::Responses | Dialect::Anthropic | Dialect::Ollama => {
                self.has_error || self.progress >= Progress::Answered
            }
        }
    }

    /// Whether everything is there, so that it no longer matters how the stream ends.
    pub fn has_ended(&self) -> bool {
        match self.dialect() {
            Dialect::Mcp => self.answers_requests && self.open.ids().is_empty(),
            _ => self.progress == Progress::Ended,
        }
    }

    /// Whether the answer is whole or has failed, though more may follow.
    pub fn is_answered(&self) -> bool {
        self.has_error || self.has_ended() || self.progress >= Progress::Answered
    }

    fn read(&mut self, dialect: Dialect, event: &Event) -> Meaning {
        match dialect {
            Dialect::OpenAi => chat::read(&event.data, !self.has_content),
            Dialect::Responses => responses::read(&kind(event), &event.data),
            Dialect::Anthropic => anthropic::read(&kind(event), &event.data),
            Dialect::Ollama => ollama::read(&event.data, !self.has_content),
            Dialect::Mcp => self.open.read(&event.data),
            Dialect::Generic => Meaning {
                content: !event.data.is_empty(),
                error: event.name == b"error",
                ..Meaning::default()
            },
        }
    }

    fn learn(&mut self, event: &Event) -> Meaning {
        let fields = fields(event);
        let kind = kind_by(event, &fields);
        self.dialect = dialect_of(event, &kind, &fields);
        if let Some(dialect) = self.dialect {
            return self.read(dialect, event);
        }
        self.undecided -= 1;
        if self.undecided == 0 {
            self.dialect = Some(Dialect::Generic);
        }
        let error = event.name == b"error" || fields.get("error").is_some_and(|error| !error.is_null());
        // What it is that arrives here is not known yet; a stream of unknown events has content all the same.
        let is_ping = kind.as_ref() == b"ping";
        Meaning { content: !is_ping && !error && !event.data.is_empty(), error, ..Meaning::default() }
    }
}

/// The dialect that an event belongs to, if it shows.
fn dialect_of(event: &Event, kind: &[u8], fields: &Value) -> Option<Dialect> {
    if chat::is_done(&event.data) || fields.get("choices").is_some_and(Value::is_array) {
        Some(Dialect::OpenAi)
    } else if anthropic::is_type(kind) {
        Some(Dialect::Anthropic)
    } else if responses::is_type(kind) {
        Some(Dialect::Responses)
    } else if mcp::is_message(fields) || fields.get(0).is_some_and(mcp::is_message) {
        Some(Dialect::Mcp)
    } else if ollama::is_chunk(fields) {
        Some(Dialect::Ollama)
    } else {
        None
    }
}

/// The type of an event: its name, or what its data says.
fn kind<'e>(event: &'e Event) -> Cow<'e, [u8]> {
    const TYPE_FIRST: &[u8] = b"{\"type\":\"";
    if !event.name.is_empty() {
        return Cow::Borrowed(event.name);
    }
    if let Some(rest) = event.data.strip_prefix(TYPE_FIRST)
        && let Some(end) = memchr::memchr2(b'"', b'\\', rest)
        && rest[end] == b'"'
    {
        return Cow::Borrowed(&rest[..end]);
    }
    kind_by(event, &fields(event))
}

/// Likewise, where its data has been read.
fn kind_by<'e>(event: &'e Event, fields: &Value) -> Cow<'e, [u8]> {
    if !event.name.is_empty() {
        return Cow::Borrowed(event.name);
    }
    Cow::Owned(fields["type"].as_str().unwrap_or_default().as_bytes().to_vec())
}

/// The data of an event, if it is JSON; only an object or an array can tell anything.
fn fields(event: &Event) -> Value {
    match event.data.trim_ascii_start().first() {
        Some(b'{' | b'[') => serde_json::from_slice(&event.data).unwrap_or_default(),
        _ => Value::Null,
    }
}
