//! Recognizes the dialect of a stream, and tracks how far the answer in it has come.

use serde_json::Value;

use super::asked::Asked;
use super::dialect::{self, Answer, Dialect, GENERIC, NO_CONTENT, OnBreak, Progress, Seen, Usage, is_set};
use super::event::{self, Event};
use super::format::Format;
use super::json;
use super::json_value::Json;
use super::large_event::LargeEvent;
use super::policy::Terminal;
use super::rechunk::Shown;
use super::recognition::{Dialects, kind_by, quick_kind};

const DONE: &[u8] = b"[DONE]";

/// Whether an answer is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is: its end arrived, or an error that the backend reports itself.
    Whole,
    /// Nothing marks the end of an answer in this dialect, or an event could not be read.
    Unknown,
    /// It is not: its end has not arrived.
    Missing,
}

/// Reads the events of one stream.
pub struct Reader {
    format: Format,
    /// The dialects that can be recognized.
    dialects: &'static Dialects,
    /// The dialect. `None`: not known yet.
    dialect: Option<&'static Dialect>,
    /// The dialect that the request asks for, until an event contradicts it.
    asked: Option<&'static Dialect>,
    terminal: Option<Terminal>,
    answer: Answer,
    /// The event that is passing in parts.
    large: Option<Box<LargeEvent>>,
    /// The last event was `[DONE]`.
    is_done: bool,
}

impl Reader {
    /// `dialect`: the dialect of the stream, if it is known. `terminal`: the terminal event of a stream in no known
    /// dialect.
    pub fn new(
        format: Format,
        dialects: &'static Dialects,
        dialect: Option<&'static Dialect>,
        terminal: Option<Terminal>,
        asked: Asked,
    ) -> Self {
        let answer = Answer::to(asked.requests);
        // A JSON-RPC request can only be answered in JSON-RPC.
        let dialect = dialect.or(asked.dialect.filter(|_| !answer.requests.open().is_empty()));
        Self {
            format,
            dialects,
            dialect,
            asked: asked.dialect,
            terminal,
            answer,
            large: None,
            is_done: false,
        }
    }

    /// Reads what the rechunker passes on next.
    pub fn observe(&mut self, shown: Shown<'_>) {
        match shown {
            Shown::Block(block) => match Event::of(self.format, block) {
                Some(event) => self.observe_event(&event),
                None => self.observe_without_data(block.bytes),
            },
            Shown::Part(bytes) => {
                let format = self.format;
                self.large.get_or_insert_with(|| Box::new(LargeEvent::new(format))).push(bytes);
            }
            Shown::PartsEnd => self.observe_large(),
        }
    }

    /// Reads a block without data. It dispatches no event, but its `id` counts (WHATWG HTML, 9.2.6), and its name may be
    /// that of the configured terminal event.
    fn observe_without_data(&mut self, block: &[u8]) {
        if self.format != Format::EventStream {
            return;
        }
        self.answer.has_id |= event::values(block, b"id").any(|id| !id.is_empty());
        if let Some(Terminal::Event(name)) = &self.terminal
            && event::values(block, b"event").any(|value| value == name.as_bytes())
            && self.dialect() == &GENERIC
        {
            self.answer.end();
        }
    }

    fn observe_large(&mut self) {
        if let Some(large) = self.large.take() {
            match large.event() {
                Ok(Some(event)) => self.observe_event(&event),
                Ok(None) => {}
                Err(_) => {
                    self.answer.is_unread = true;
                    self.answer.has_content |= self.dialect() == &GENERIC;
                }
            }
        }
    }

    /// The part so far of an event that is too large to hold back.
    pub fn large(&self) -> Option<&LargeEvent> {
        self.large.as_deref()
    }

    /// Reads the next event.
    pub fn observe_event(&mut self, event: &Event) {
        self.answer.has_id |= event.has_id;
        self.answer.goes_on |= self.answer.progress == Progress::Ended;
        self.is_done = event.data.starts_with(DONE);
        match self.dialect {
            Some(dialect) if dialect != &GENERIC => self.follow(dialect, event),
            Some(_) => self.follow_unknown(event),
            None => self.learn(event),
        }
    }

    /// The dialect, as far as it is known: from the events, or else from the request, or else [`GENERIC`].
    pub fn dialect(&self) -> &'static Dialect {
        self.dialect.or(self.asked).unwrap_or(&GENERIC)
    }

    /// Whether the dialect is known for sure: from the events, or from the beginning.
    pub fn is_decided(&self) -> bool {
        self.dialect.is_some()
    }

    /// Whether an event with a part of the answer has arrived.
    pub fn has_content(&self) -> bool {
        self.answer.has_content
    }

    /// Whether the backend has reported an error in the stream.
    pub fn has_error(&self) -> bool {
        self.answer.has_error
    }

    /// The token counts so far.
    pub fn usage(&self) -> Usage {
        self.answer.usage
    }

    /// The ids of the JSON-RPC requests without a response.
    pub fn open_requests(&self) -> &[Value] {
        self.answer.requests.open()
    }

    /// Whether the clients resume this stream by the ids of its events, so that its end need not be the answer's end.
    pub fn is_resumable(&self) -> bool {
        self.answer.has_id && self.dialect() == &dialect::MCP
    }

    /// Whether the last event was `[DONE]`, in a stream without a known terminal event.
    pub fn ended_with_done(&self) -> bool {
        self.is_done && self.terminal.is_none() && self.dialect() == &GENERIC
    }

    /// Whether the backend has reported an error that ends the answer. In no known dialect, an error may mean anything, and
    /// in JSON-RPC other requests may still be open.
    pub fn has_failed(&self) -> bool {
        let dialect = self.dialect();
        self.answer.has_error && dialect != &GENERIC && !matches!(dialect.on_break, OnBreak::JsonRpc)
    }

    /// Whether the terminal event was the last event. Then it does not matter how the stream ends.
    pub fn has_ended(&self) -> bool {
        self.answer.progress == Progress::Ended && !self.answer.goes_on
    }

    /// Whether the answer is complete or has failed. More events may follow.
    pub fn is_answered(&self) -> bool {
        self.answer.has_error || self.answer.progress >= Progress::Answered
    }

    /// Whether the answer is complete if the stream ends here.
    pub fn verdict(&self) -> Verdict {
        let dialect = self.dialect();
        let is_json_rpc = matches!(dialect.on_break, OnBreak::JsonRpc);
        let requires_end = match dialect {
            generic if generic == &GENERIC => self.terminal.is_some(),
            mcp if mcp == &dialect::MCP => !self.open_requests().is_empty(),
            other => other.requires_end,
        };
        if self.answer.progress >= Progress::Answered || (self.answer.has_error && !is_json_rpc) {
            Verdict::Whole
        } else if requires_end && !self.answer.is_unread {
            Verdict::Missing
        } else {
            Verdict::Unknown
        }
    }

    /// Whether this data is complete even though its line did not end.
    pub fn is_terminal_data(&self, data: &[u8]) -> bool {
        data == DONE || matches!(&self.terminal, Some(Terminal::Data(text)) if text.as_bytes() == data)
    }

    fn learn(&mut self, event: &Event) {
        if let Some((dialect, data)) = self.dialects.of(event, self.asked) {
            self.dialect = Some(dialect);
            // The earlier events were not in this dialect, so what they seemed to mean does not count.
            let answer = &mut self.answer;
            (answer.has_content, answer.has_error, answer.is_unread) = (false, false, false);
            answer.progress = Progress::Open;
            return self.read(dialect, event, &data);
        }
        if let Some(asked) = self.asked {
            let is_unread = self.answer.is_unread;
            self.follow(asked, event);
            if self.is_neutral(event, asked) {
                return;
            }
            // The event should have been recognized if it were in the dialect that the request asks for.
            (self.asked, self.answer.is_unread) = (None, is_unread);
        }
        self.follow_unknown(event);
    }

    /// Reads an event in no known dialect.
    fn follow_unknown(&mut self, event: &Event) {
        self.follow(&GENERIC, event);
        if self.is_terminal(event) {
            self.answer.end();
        }
    }

    /// Whether an event that reveals no dialect does not contradict the dialect `asked` either.
    fn is_neutral(&self, event: &Event, asked: &Dialect) -> bool {
        let is_keepalive = || {
            let kind = quick_kind(event, asked.type_member).unwrap_or_default();
            event.data.is_empty() || NO_CONTENT.iter().any(|name| name.as_bytes() == kind)
        };
        self.answer.has_error || self.has_ended() || is_keepalive()
    }

    /// Reads an event in this dialect. Skips it without parsing if it cannot change anything.
    fn follow(&mut self, dialect: &'static Dialect, event: &Event) {
        // In no known dialect, only a `member:` terminal event needs the data to be JSON.
        let must_be_read = dialect != &GENERIC || matches!(self.terminal, Some(Terminal::Member(_)));
        let answer = &mut self.answer;
        if dialect.ends_with_done && self.is_done {
            return answer.end();
        }
        let kind = match dialect.types.is_empty() && event.name.is_empty() {
            true => Some(&b""[..]),
            false => quick_kind(event, dialect.type_member),
        };
        let is_of_types = |kind: &[u8]| {
            kind == b"error"
                || dialect.types.iter().any(|kind_that_matters| kind_that_matters.as_bytes() == kind)
        };
        let matters = !answer.has_content
            || kind.is_none_or(is_of_types)
            || (json::may_be(&event.data) && dialect.members.finds_any(&event.data));
        if !matters {
            return;
        }
        let data = json::read(&event.data).unwrap_or_else(|| {
            // Broken JSON may have been any event, even the last one.
            answer.is_unread |= must_be_read && matches!(event.data.trim_ascii_start().first(), Some(b'{'));
            Json::Null
        });
        self.read(dialect, event, &data);
    }

    fn read(&mut self, dialect: &'static Dialect, event: &Event, data: &Json) {
        let answer = &mut self.answer;
        let kind = kind_by(event, data, dialect.type_member);
        // A number in `error` is a measurement, not an error.
        answer.has_error |= kind == b"error" || (is_set(&data["error"]) && !data["error"].is_number());
        (dialect.read)(&Seen { kind, data }, answer);
        if dialect == &GENERIC && data.is_null() {
            let says_nothing = NO_CONTENT.iter().any(|name| name.as_bytes() == kind);
            answer.has_content |= !event.data.is_empty() && !self.is_done && !says_nothing;
        }
    }

    /// Whether this is the configured terminal event.
    fn is_terminal(&self, event: &Event) -> bool {
        match &self.terminal {
            None => false,
            Some(Terminal::Data(data)) => event.data.trim_ascii() == data.as_bytes(),
            Some(Terminal::Event(name)) => event.name == name.as_bytes(),
            Some(Terminal::Member(name)) => {
                memchr::memmem::find(&event.data, name.as_bytes()).is_some()
                    && json::read(&event.data)
                        .is_some_and(|data| !matches!(data[name.as_str()], Json::Null | Json::Bool(false)))
            }
        }
    }
}
