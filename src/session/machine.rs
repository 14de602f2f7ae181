//! The state machine that relays the body of one response.

use std::time::Instant;

use super::asked::Asked;
use super::deadlines::{Deadlines, Due, Situation};
use super::dialect::{Dialect, Usage};
use super::ending::End;
use super::format::Format;
use super::heartbeat::Heartbeats;
use super::lines::{ToEvents, Unit};
use super::policy::{ErrorEvents, Policy};
use super::reader::Reader;
use super::rechunk::Rechunker;
use super::recognition::Dialects;

/// The size of a full batch in bytes. Once this much is ready, it is written before anything else is read.
pub const BATCH: usize = 32 * 1024;

/// The parameters of a new session.
pub struct Setup<'a> {
    /// The settings of the route.
    pub policy: &'a Policy,
    /// How the body is divided into events, after the conversion.
    pub format: Format,
    /// Converts a body of JSON texts into an event stream: the unit that becomes one event. `None`: no conversion.
    pub conversion: Option<Unit>,
    /// The dialect, if the head of the response tells. The policy's dialect takes precedence.
    pub dialect: Option<&'static Dialect>,
    /// What the request reveals about the stream.
    pub asked: Asked,
    /// When the request was sent. `first_event_timeout` counts from here.
    pub sent: Instant,
    /// The last early heartbeat. `None`: the silence towards the client begins at `now`.
    pub written: Option<Instant>,
    /// The deadline of the whole exchange (`max_duration`).
    pub end: Option<Instant>,
    /// The current time.
    pub now: Instant,
}

/// What one write contained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// The number of events that ended in it.
    pub events: u64,
    /// Bytes that came from the backend, converted ones included. Heartbeats and error events do not count.
    pub bytes: u64,
    /// It was a heartbeat and nothing else.
    pub is_heartbeat: bool,
    /// It contained the first event of the stream.
    pub is_first_event: bool,
    /// It contained the first content, and the dialect is known.
    pub is_first_token: bool,
    /// It contained the first content, unless a dialect is recognized later.
    pub may_be_first_token: bool,
}

/// When the first content was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FirstToken {
    Awaited,
    /// The content may not be part of the answer: the dialect is unknown, and a later event may reveal it.
    Provisional(Instant),
    Seen(Instant),
}

/// The relay of one response body, without I/O and clock.
///
/// The caller passes in what happens ([`Self::handle_bytes`], [`Self::handle_end`], [`Self::handle_fault`]). It writes
/// what [`Self::poll_write`] returns and confirms it with [`Self::handle_written`]. At [`Self::poll_timeout`] it calls
/// [`Self::handle_timeout`]. The session is over when [`Self::end()`] is set and [`Self::poll_write`] returns nothing.
pub struct Session {
    pub(super) error_events: ErrorEvents,
    pub(super) detects_truncation: bool,
    pub(super) format: Format,
    pub(super) rechunker: Rechunker,
    pub(super) conversion: Option<Box<Conversion>>,
    pub(super) reader: Reader,
    pub(super) deadlines: Deadlines,
    heartbeats: Heartbeats,
    /// A heartbeat is due.
    pub(super) beats: bool,
    /// Held-back events are due.
    pub(super) releases: bool,
    /// The client is gone, and the response is only read to its end.
    is_discarded: bool,
    /// See [`Self::wakes_earlier()`].
    wakes_earlier: bool,
    /// A heartbeat was possible after the last write.
    could_beat: bool,
    /// The number of events delivered.
    delivered: u64,
    first_token: FirstToken,
    /// The length of the error event at the end of the ready bytes.
    pub(super) own: usize,
    pub(super) end: Option<End>,
}

/// The conversion of JSON texts into events, with a buffer that is reused.
pub(super) struct Conversion {
    pub converter: ToEvents,
    pub converted: Vec<u8>,
}

impl Session {
    /// A session that recognizes all dialects.
    pub fn new(setup: Setup<'_>) -> Self {
        Self::with_dialects(setup, Dialects::known())
    }

    /// A session that recognizes only these dialects.
    pub fn with_dialects(setup: Setup<'_>, dialects: &'static Dialects) -> Self {
        let Setup { policy, format, conversion, dialect, asked, sent, written, end, now } = setup;
        let mut deadlines = Deadlines::new(policy, end, now);
        if let Some(written) = written {
            deadlines.beat(written);
        }
        if format != Format::Opaque && !asked.listens_to_mcp {
            match asked.listens {
                true => deadlines.await_any_event(policy, sent),
                false => deadlines.await_first_event(policy, sent),
            }
        }
        let dialect = policy.dialect.or(dialect);
        Self {
            error_events: policy.error_events,
            detects_truncation: policy.detect_truncation,
            format,
            rechunker: Rechunker::new(format, policy.max_event_size),
            conversion: conversion
                .map(|unit| Box::new(Conversion { converter: ToEvents::new(unit), converted: Vec::new() })),
            reader: Reader::new(format, dialects, dialect, policy.terminal.clone(), asked),
            deadlines,
            heartbeats: policy.heartbeats.clone(),
            beats: false,
            releases: false,
            is_discarded: false,
            wakes_earlier: true,
            could_beat: false,
            delivered: 0,
            first_token: FirstToken::Awaited,
            own: 0,
            end: None,
        }
    }

    /// Handles the next bytes of the body: [`Self::append`], [`Self::scan`] and [`Self::handle_read`] in one call.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        self.append(bytes);
        self.scan();
        self.handle_read(now);
    }

    /// Appends bytes of the body without scanning them. It is cheaper to scan several chunks of one read together.
    pub fn append(&mut self, bytes: &[u8]) {
        match self.conversion.as_deref_mut() {
            Some(Conversion { converter, converted }) => {
                converted.clear();
                converter.push(bytes, converted);
                self.rechunker.append(converted);
            }
            None => self.rechunker.append(bytes),
        }
    }

    /// Finds the events in the appended bytes.
    pub fn scan(&mut self) {
        let reader = &mut self.reader;
        self.rechunker.scan(|shown| reader.observe(shown));
    }

    /// Notes the time of a read, after [`Self::scan`].
    pub fn handle_read(&mut self, now: Instant) {
        self.deadlines.read(now, self.rechunker.awaits_lf());
        // An event too large to hold back counts from its beginning.
        if self.delivered == 0 && (self.rechunker.events() > 0 || !self.rechunker.between_events()) {
            self.deadlines.first_event();
            self.wakes_earlier = true;
        }
    }

    /// Handles the deadlines that have passed. Afterwards there may be something to write, or the session may be over.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.deadlines.due(now, self.situation()) {
            Due::Nothing => {}
            Due::Failure(failure) => self.handle_fault(failure.into()),
            Due::ReleaseEvents => self.releases = true,
            Due::Heartbeat => self.beats = true,
        }
    }

    /// Continues without the client, which has disconnected: no more heartbeats. The caller discards what
    /// [`Self::poll_write`] returns. `end`: the new deadline of the exchange.
    pub fn discard(&mut self, end: Option<Instant>) {
        self.is_discarded = true;
        self.deadlines.limit_to(end);
    }

    /// The bytes to write now: whole events, or part of an event too large to hold back, or a heartbeat. `None`: nothing.
    ///
    /// Write all of them, and then call [`Self::handle_written`] before anything else.
    pub fn poll_write(&mut self, now: Instant) -> Option<&[u8]> {
        if !self.rechunker.ready().is_empty() {
            let waits = self.can_wait() && self.deadlines.holds_back(now, self.situation());
            self.wakes_earlier |= waits;
            return (!waits).then(|| self.rechunker.ready());
        }
        self.beats.then(|| self.heartbeat())
    }

    /// Whether the ready bytes may be held back at all. Rarely true, and cheap to check first.
    fn can_wait(&self) -> bool {
        !self.releases && (self.deadlines.coalesces() || self.rechunker.awaits_lf())
    }

    /// The number of bytes that are ready, even if they are held back.
    pub fn ready(&self) -> usize {
        self.rechunker.ready().len()
    }

    fn heartbeat(&self) -> &[u8] {
        self.heartbeats.get(self.reader.dialect().heartbeat, self.rechunker.after_cr())
    }

    /// Confirms that the bytes of [`Self::poll_write`] are written. Returns what they contained.
    pub fn handle_written(&mut self, now: Instant) -> Delivered {
        let ready = self.rechunker.ready().len();
        if ready == 0 {
            let is_heartbeat = std::mem::take(&mut self.beats);
            if is_heartbeat {
                self.deadlines.beat(now);
            }
            return Delivered { is_heartbeat, ..Delivered::default() };
        }
        self.deadlines.wrote(now);
        self.releases = self.end.is_some();
        let events = self.rechunker.events() - self.delivered;
        let is_first_event = self.delivered == 0 && events > 0;
        let can_beat = self.rechunker.between_events();
        self.wakes_earlier |= can_beat && !self.could_beat;
        self.could_beat = can_beat;
        self.delivered += events;
        let is_first_token = self.note_token(now);
        let may_be_first_token = self.first_token == FirstToken::Provisional(now);
        let bytes = (ready - std::mem::take(&mut self.own)) as u64;
        self.rechunker.consume();
        Delivered { events, bytes, is_heartbeat: false, is_first_event, is_first_token, may_be_first_token }
    }

    /// Updates `first_token`. Returns whether the first content has just been delivered, and the dialect is known.
    fn note_token(&mut self, now: Instant) -> bool {
        let (has_content, is_decided) = (self.reader.has_content(), self.reader.is_decided());
        match self.first_token {
            FirstToken::Seen(_) => {}
            _ if has_content && is_decided => {
                self.first_token = FirstToken::Seen(now);
                return true;
            }
            FirstToken::Awaited if has_content => self.first_token = FirstToken::Provisional(now),
            // Since then a dialect was recognized, and that event was not content in it.
            FirstToken::Provisional(_) if !has_content => self.first_token = FirstToken::Awaited,
            FirstToken::Awaited | FirstToken::Provisional(_) => {}
        }
        false
    }

    /// Reads from each part that the next event needs, so that the processor loads their cache lines in parallel.
    #[inline]
    pub fn touch(&self) -> (u64, usize, Instant, bool, bool, u64) {
        let (reader, last_write) = (&self.reader, self.deadlines.last_write());
        let (knows_dialect, has_content) = (reader.is_decided(), reader.has_content());
        (self.rechunker.events(), self.ready(), last_write, knows_dialect, has_content, self.delivered)
    }

    /// When to call [`Self::handle_timeout`]. `None`: never.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next(self.situation())
    }

    /// Whether [`Self::poll_timeout`] may have moved to an earlier time since the last call of this function. If not, the
    /// caller can leave its timer as it is: most events only postpone the deadlines.
    pub fn wakes_earlier(&mut self) -> bool {
        std::mem::take(&mut self.wakes_earlier)
    }

    /// How the session ended. `None`: it has not. There may still be bytes to write.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// The number of complete events so far (blocks with data).
    pub fn events(&self) -> u64 {
        self.rechunker.events()
    }

    /// When the first content was delivered. Provisional until the dialect is known.
    pub fn first_token(&self) -> Option<Instant> {
        match self.first_token {
            FirstToken::Awaited => None,
            FirstToken::Provisional(at) | FirstToken::Seen(at) => Some(at),
        }
    }

    /// The token counts that the backend has reported so far.
    pub fn usage(&self) -> Usage {
        self.reader.usage()
    }

    /// The dialect of the stream, as far as it is known.
    pub fn dialect(&self) -> &'static Dialect {
        self.reader.dialect()
    }

    /// Whether the last event was `[DONE]`, in a stream without a known terminal event. Setting `terminal` would let
    /// sidestream detect its truncation.
    pub fn ended_with_done(&self) -> bool {
        self.reader.ended_with_done()
    }

    fn situation(&self) -> Situation {
        let ready = self.rechunker.ready().len();
        let is_urgent = self.delivered == 0 || self.reader.is_answered() || ready >= BATCH;
        Situation {
            // While a batch is full, nothing is read, so the LF could not arrive.
            awaits_lf: self.rechunker.awaits_lf() && ready < BATCH,
            may_wait: ready > 0 && !is_urgent && self.format != Format::Opaque,
            // JSON lines have no comments. If bytes are ready, they will end the silence themselves.
            takes_heartbeat: self.format == Format::EventStream
                && ready == 0
                && self.rechunker.between_events()
                && !self.is_discarded,
        }
    }
}
