//! What is between backend and client: bytes that were read and are not written yet, and what is known of them.

use std::sync::Arc;

use tokio::time::Instant;

use super::exchange::{Exchange, Raised};
use super::gathered::Gathered;
use super::response::Stream;
use crate::config::{ErrorEvents, StreamPolicy};
use crate::event_stream::dialect::{Dialect, OpenRequests, Recognizer};
use crate::event_stream::error_event::{self, ErrorForm};
use crate::event_stream::{Block, Event, Format, Rechunker, Tail, ToEvents};
use crate::metrics::{ModelMetrics, RouteMetrics};
use crate::outcome::{Outcome, UpstreamFault};

/// A body between backend and client.
pub enum Payload {
    Opaque(Vec<u8>),
    Events(Box<Events>),
}

/// What only an event stream has.
pub struct Events {
    pub rechunker: Rechunker,
    pub recognizer: Recognizer,
    format: Format,
    conversion: Option<Conversion>,
    gathered: Gathered,
    /// Events that were there when the backend was last read.
    read: u64,
    model: Arc<ModelMetrics>,
    first_token: Option<Instant>,
    delivered: u64,
    last_delivery: Option<Instant>,
    /// Counts the stream as waiting until its first event is delivered.
    waiting: Option<Raised>,
    /// Counts the stream as active.
    _active: Raised,
}

/// The texts of a body on their way to become events.
struct Conversion {
    converter: ToEvents,
    converted: Vec<u8>,
}

/// How the body of an event stream ended, when it ended as its framing says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanEnd {
    Complete,
    /// The backend has reported an error itself, and that was all.
    ReportedError,
    Truncated,
}

/// How a response ends whose upstream broke.
pub enum Ending {
    /// As if nothing had happened, because the client has all there is.
    Clean,
    ErrorEvent(String),
    /// The connection breaks.
    Break,
}

impl Payload {
    /// Takes the next bytes of the body; what they make [ready](Self::ready) shows once they are [scanned](Self::scan).
    pub fn append(&mut self, bytes: &[u8]) {
        match self {
            Self::Opaque(buffer) => buffer.extend_from_slice(bytes),
            Self::Events(events) => events.append(bytes),
        }
    }

    /// Finds the events in what was appended.
    pub fn scan(&mut self) {
        if let Self::Events(events) = self {
            events.rechunker.scan(observer(&mut events.recognizer, events.format));
        }
    }

    /// Notes that all that was there of the backend has been read.
    pub fn note_read(&mut self, metrics: &RouteMetrics) {
        if let Self::Events(events) = self {
            events.note_read(metrics);
        }
    }

    /// Bytes that wait to be written.
    pub fn ready(&self) -> &[u8] {
        match self {
            Self::Opaque(buffer) => buffer,
            Self::Events(events) => events.rechunker.ready(),
        }
    }

    pub fn consume(&mut self) {
        match self {
            Self::Opaque(buffer) => buffer.clear(),
            Self::Events(events) => events.rechunker.consume(),
        }
    }
}

impl Events {
    /// `waiting` counts the stream until its first event; `open`: the JSON-RPC requests that it answers.
    pub fn new(
        stream: Stream,
        policy: &StreamPolicy,
        metrics: &RouteMetrics,
        model: Arc<ModelMetrics>,
        waiting: Option<Raised>,
        open: Option<OpenRequests>,
    ) -> Self {
        metrics.count_start();
        Self {
            rechunker: Rechunker::new(stream.format, policy.max_event_size),
            recognizer: Recognizer::new(policy.dialect, open),
            format: stream.format,
            conversion: stream
                .conversion
                .map(|unit| Conversion { converter: ToEvents::new(unit), converted: Vec::new() }),
            gathered: Gathered::new(Instant::now()),
            read: 0,
            model,
            first_token: None,
            delivered: 0,
            last_delivery: None,
            waiting,
            _active: Raised::new(&metrics.active),
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        match &mut self.conversion {
            Some(Conversion { converter, converted }) => {
                converted.clear();
                converter.push(bytes, converted);
                self.rechunker.append(converted);
            }
            None => self.rechunker.append(bytes),
        }
    }

    /// Whether a heartbeat may be written now. No client of a stream of JSON texts takes one.
    pub fn takes_heartbeat(&self) -> bool {
        self.format == Format::EventStream && self.rechunker.between_events()
    }

    /// Whether what is ready must not wait for what follows: the first event, and whatever ends the answer.
    pub fn is_urgent(&self) -> bool {
        self.delivered == 0 || self.recognizer.is_answered()
    }

    /// Takes what is ready as written, where there is no client any more. Returns whether the first event was in it.
    pub fn note_discarded(&mut self) -> bool {
        self.delivered = self.rechunker.events();
        self.delivered > 0 && self.waiting.take().is_some()
    }

    fn note_read(&mut self, metrics: &RouteMetrics) {
        let new = self.rechunker.events() - self.read;
        if new > 0 {
            self.read += new;
            self.gathered.read(new, metrics);
        }
    }

    /// Counts what was just written. Returns whether the first event was in it.
    pub fn note_delivery(&mut self, now: Instant, exchange: &Exchange) -> bool {
        let metrics = &exchange.route.metrics;
        let since_start = || (now - exchange.started).as_secs_f64();
        let bytes = self.rechunker.ready().len() as u64;
        let events = self.count_gaps(now, metrics);
        metrics.event_bytes.inc_by(bytes);
        metrics.events.inc_by(events);
        exchange.record.add(events, bytes, now);
        if self.first_token.is_none() && self.recognizer.has_content() {
            self.first_token = Some(now);
            self.model.observe_first_token(since_start());
            exchange.record.note_first_token(now);
        }
        let is_first = self.delivered > 0 && self.waiting.take().is_some();
        if is_first {
            self.model.observe_first_event(since_start());
        }
        is_first
    }

    /// Takes the end of the stream.
    pub fn note_end(&mut self, outcome: Outcome, exchange: &Exchange) {
        self.gathered.flush(&exchange.route.metrics);
        let (now, usage) = (Instant::now(), self.recognizer.usage());
        let since_token = self.first_token.map(|first| (now - first).as_secs_f64());
        self.model.count_tokens(usage);
        self.model.observe_end(outcome, (now - exchange.started).as_secs_f64(), since_token, usage);
        exchange.record.set_usage(usage);
    }

    /// Observes the gaps that a write has ended; returns how many events it delivered.
    fn count_gaps(&mut self, now: Instant, metrics: &RouteMetrics) -> u64 {
        let new = self.rechunker.events() - self.delivered;
        if new > 0 {
            self.delivered += new;
            let previous = self.last_delivery.replace(now);
            self.gathered.written(new, previous.map(|previous| now - previous), now, metrics);
        }
        new
    }

    /// Takes the clean end of the upstream body, and makes what may still be written ready.
    pub fn finish(&mut self, policy: &StreamPolicy) -> CleanEnd {
        if let Some(Conversion { converter, converted }) = &mut self.conversion {
            converted.clear();
            converter.finish(converted);
            self.rechunker.push(converted, observer(&mut self.recognizer, self.format));
        }
        let tail = self.rechunker.finish(observer(&mut self.recognizer, self.format));
        if policy.detect_truncation && !self.recognizer.may_end() {
            return CleanEnd::Truncated;
        }
        if tail == Tail::Incomplete {
            self.rechunker.release_incomplete();
        }
        if self.recognizer.has_error() { CleanEnd::ReportedError } else { CleanEnd::Complete }
    }

    /// Takes the break of the upstream body: what is not whole is dropped.
    pub fn break_off(&mut self, fault: UpstreamFault, policy: ErrorEvents) -> (Outcome, Ending) {
        self.rechunker.drop_incomplete();
        let between_events = self.rechunker.between_events();
        // An application may call any event `error`; only in a known dialect is it the last word.
        if between_events && self.recognizer.has_error() && self.recognizer.dialect() != Dialect::Generic {
            return (Outcome::ReportedError, Ending::Clean);
        }
        // A backend that breaks after its terminal event breaks nothing.
        if between_events && self.recognizer.has_ended() {
            return (Outcome::Completed, Ending::Clean);
        }
        let ending = match self.error_form(policy) {
            Some(form) => {
                Ending::ErrorEvent(error_event::render(form, fault.event_code(), self.rechunker.events()))
            }
            None => Ending::Break,
        };
        (Outcome::Upstream(fault), ending)
    }

    /// The form of the error event that ends this stream. `None`: it can only be broken off, because that is what is
    /// asked for, because no event would be heeded, or because part of an event has gone out, which cannot be repaired.
    fn error_form(&self, policy: ErrorEvents) -> Option<ErrorForm<'_>> {
        if !self.rechunker.between_events() {
            return None;
        }
        let open = self.recognizer.open_requests();
        let mcp = (!open.is_empty()).then_some(ErrorForm::Mcp(open));
        match policy {
            ErrorEvents::Off => None,
            _ if self.format == Format::Lines => Some(ErrorForm::Line),
            ErrorEvents::Auto if self.recognizer.dialect() == Dialect::Mcp => mcp,
            ErrorEvents::Auto => Some(ErrorForm::Superset),
            ErrorEvents::OpenAi => Some(ErrorForm::OpenAi),
            ErrorEvents::Responses => Some(ErrorForm::Responses),
            ErrorEvents::Anthropic => Some(ErrorForm::Anthropic),
            ErrorEvents::Mcp => mcp,
            ErrorEvents::Generic => Some(ErrorForm::Generic),
        }
    }
}

/// Shows a recognizer each event of a stream in this format.
fn observer(recognizer: &mut Recognizer, format: Format) -> impl FnMut(Block<'_>) {
    move |block| {
        if let Some(event) = Event::of(format, block) {
            recognizer.observe(&event);
        }
    }
}
