//! One response's body on its way: what is to be written of it, and when.

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

/// Bytes that wait to be written from which on nothing more is read or waited for.
pub const BATCH: usize = 32 * 1024;

/// What a session begins with.
pub struct Setup<'a> {
    pub policy: &'a Policy,
    /// How the body is cut into messages.
    pub format: Format,
    /// What becomes an event, if the body has none yet.
    pub conversion: Option<Unit>,
    /// What the response's head says that the stream speaks.
    pub dialect: Option<&'static Dialect>,
    pub asked: Asked,
    /// When the request was sent; the first event is waited for from then on.
    pub sent: Instant,
    /// When something was last written to the client: an early heartbeat. Otherwise silence begins now.
    pub written: Option<Instant>,
    /// When all must be over.
    pub end: Option<Instant>,
    pub now: Instant,
}

/// What was in a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    pub events: u64,
    /// Bytes of the backend's, or made of them.
    pub bytes: u64,
    /// Nothing but a heartbeat.
    pub is_heartbeat: bool,
    /// The first event of the stream.
    pub is_first_event: bool,
    /// The first content, if the stream's dialect is known.
    pub is_first_token: bool,
    /// What is the first content unless a dialect is recognised later.
    pub may_be_first_token: bool,
}

/// When the first content was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FirstToken {
    Awaited,
    /// What may be the application's own: events that are recognised may follow.
    Provisional(Instant),
    Seen(Instant),
}

/// One response's body on its way.
pub struct Session {
    pub(super) error_events: ErrorEvents,
    pub(super) detects_truncation: bool,
    pub(super) format: Format,
    pub(super) rechunker: Rechunker,
    pub(super) conversion: Option<Box<Conversion>>,
    pub(super) reader: Reader,
    pub(super) deadlines: Deadlines,
    heartbeats: Heartbeats,
    /// A heartbeat is to be written.
    pub(super) beats: bool,
    /// What waits is to be written, whatever it waits for.
    pub(super) releases: bool,
    /// Nobody reads what is written.
    is_discarded: bool,
    /// Something may be due earlier than when that was last asked for.
    wakes_earlier: bool,
    /// A heartbeat could have been written when that was last looked at.
    could_beat: bool,
    delivered: u64,
    first_token: FirstToken,
    /// Bytes of our own at the end of what is ready.
    pub(super) own: usize,
    pub(super) end: Option<End>,
}

/// The texts of a body on their way to become events.
pub(super) struct Conversion {
    pub converter: ToEvents,
    pub converted: Vec<u8>,
}

impl Session {
    pub fn new(setup: Setup<'_>) -> Self {
        Self::with_dialects(setup, Dialects::known())
    }

    /// A session that knows only these dialects.
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

    /// Takes the next bytes of the body: [append](Self::append), [scan](Self::scan) and [note](Self::handle_read) at once.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        self.append(bytes);
        self.scan();
        self.handle_read(now);
    }

    /// Takes bytes of the body that are to be looked at with what follows: several chunks that came at once cost less together.
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

    /// Finds the events in what was appended.
    pub fn scan(&mut self) {
        let reader = &mut self.reader;
        self.rechunker.scan(|shown| reader.observe(shown));
    }

    /// Notes when that was.
    pub fn handle_read(&mut self, now: Instant) {
        self.deadlines.read(now, self.rechunker.awaits_lf());
        // One that is too large to be held back is there with its beginning.
        if self.delivered == 0 && (self.rechunker.events() > 0 || !self.rechunker.between_events()) {
            self.deadlines.first_event();
            self.wakes_earlier = true;
        }
    }

    /// Takes notice of the time: what is due is to be written then, or has ended the session.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.deadlines.due(now, self.situation()) {
            Due::Nothing => {}
            Due::Failure(failure) => self.handle_fault(failure.into()),
            Due::ReleaseEvents => self.releases = true,
            Due::Heartbeat => self.beats = true,
        }
    }

    /// Goes on without a client, whose connection is gone: what is written goes nowhere. `end`: when all must be over.
    pub fn discard(&mut self, end: Option<Instant>) {
        self.is_discarded = true;
        self.deadlines.limit_to(end);
    }

    /// What is to be written now: whole events, or part of one too large to hold back, or a heartbeat.
    /// [`Self::handle_written`] is to follow before the next call.
    pub fn poll_write(&mut self, now: Instant) -> Option<&[u8]> {
        if !self.rechunker.ready().is_empty() {
            let waits = self.can_wait() && self.deadlines.holds_back(now, self.situation());
            self.wakes_earlier |= waits;
            return (!waits).then(|| self.rechunker.ready());
        }
        self.beats.then(|| self.heartbeat())
    }

    /// Whether there is anything that what is ready could wait for: hardly ever.
    fn can_wait(&self) -> bool {
        !self.releases && (self.deadlines.coalesces() || self.rechunker.awaits_lf())
    }

    /// Bytes that could be written now, as far as nothing holds them back.
    pub fn ready(&self) -> usize {
        self.rechunker.ready().len()
    }

    fn heartbeat(&self) -> &[u8] {
        self.heartbeats.get(self.reader.dialect().heartbeat, self.rechunker.after_cr())
    }

    /// Takes it that what [`Self::poll_write`] showed is written, and says what it was.
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

    /// Returns whether the first content has been delivered now, and that is known for sure.
    fn note_token(&mut self, now: Instant) -> bool {
        let (has_content, is_decided) = (self.reader.has_content(), self.reader.is_decided());
        match self.first_token {
            FirstToken::Seen(_) => {}
            _ if has_content && is_decided => {
                self.first_token = FirstToken::Seen(now);
                return true;
            }
            FirstToken::Awaited if has_content => self.first_token = FirstToken::Provisional(now),
            // It was the application's own.
            FirstToken::Provisional(_) if !has_content => self.first_token = FirstToken::Awaited,
            FirstToken::Awaited | FirstToken::Provisional(_) => {}
        }
        false
    }

    /// A little of what an event needs.
    #[inline]
    pub fn touch(&self) -> (u64, usize, Instant, bool, bool, u64) {
        let (reader, last_write) = (&self.reader, self.deadlines.last_write());
        let (knows_dialect, has_content) = (reader.is_decided(), reader.has_content());
        (self.rechunker.events(), self.ready(), last_write, knows_dialect, has_content, self.delivered)
    }

    /// When [`Self::handle_timeout`] is to be called; `None`: never.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next(self.situation())
    }

    /// Whether [`Self::poll_timeout`] may say less than when this was last asked. Otherwise it says the same or more, and a timer that
    /// is set may stay as it is: most events put everything off.
    pub fn wakes_earlier(&mut self) -> bool {
        std::mem::take(&mut self.wakes_earlier)
    }

    /// How the session has ended, once it has; what is to be written before that may still be there.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Events (blocks with data) that have come so far.
    pub fn events(&self) -> u64 {
        self.rechunker.events()
    }

    /// When the first content was delivered, as far as that is known.
    pub fn first_token(&self) -> Option<Instant> {
        match self.first_token {
            FirstToken::Awaited => None,
            FirstToken::Provisional(at) | FirstToken::Seen(at) => Some(at),
        }
    }

    /// What the backend has counted so far.
    pub fn usage(&self) -> Usage {
        self.reader.usage()
    }

    /// What the stream speaks, as far as is known.
    pub fn dialect(&self) -> &'static Dialect {
        self.reader.dialect()
    }

    /// Whether the last event was `[DONE]`, in a stream that nothing says the end of: `terminal` would.
    pub fn ended_with_done(&self) -> bool {
        self.reader.ended_with_done()
    }

    fn situation(&self) -> Situation {
        let ready = self.rechunker.ready().len();
        let is_urgent = self.delivered == 0 || self.reader.is_answered() || ready >= BATCH;
        Situation {
            // While a batch is full nothing is read, and so the LF could not come.
            awaits_lf: self.rechunker.awaits_lf() && ready < BATCH,
            may_wait: ready > 0 && !is_urgent && self.format != Format::Opaque,
            // No client of a stream of JSON texts takes one, and what waits to be written ends the silence anyway.
            takes_heartbeat: self.format == Format::EventStream
                && ready == 0
                && self.rechunker.between_events()
                && !self.is_discarded,
        }
    }
}
