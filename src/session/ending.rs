//! The end of a session: decides whether the answer is complete, and signals to the client if it is not.

use super::dialect::{OnBreak, OwnClose};
use super::error_event::{self, ErrorForm};
use super::format::Format;
use super::machine::{Conversion, Session};
use super::policy::ErrorEvents;
use super::reader::Verdict;
use super::tail::{self, Tail};
use crate::outcome::{Failure, Fault, Outcome};

/// How to end the response to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// With the end of its framing.
    Clean,
    /// By aborting the connection or HTTP/2 stream, so that no client takes the response for complete.
    Break,
}

/// The end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// How the exchange ended.
    pub outcome: Outcome,
    /// How to end the response, once all bytes are written.
    pub close: Close,
    /// The last bytes to write are an error event.
    pub has_error_event: bool,
}

impl Session {
    /// Handles the regular end of the body. If the answer in it is not complete, this is [`Failure::Truncated`].
    pub fn handle_end(&mut self) {
        if self.end.is_some() {
            return;
        }
        if let Some(Conversion { converter, converted }) = self.conversion.as_deref_mut() {
            converted.clear();
            converter.finish(converted);
            let reader = &mut self.reader;
            self.rechunker.push(converted, |shown| reader.observe(shown));
        }
        let tail = self.tail();
        if let Tail::Event { missing_line_ends } = tail {
            let (missing, reader) = (self.rechunker.line_ends(missing_line_ends), &mut self.reader);
            self.rechunker.push(missing, |shown| reader.observe(shown));
        }
        if self.detects_truncation && !self.may_end(tail) {
            return self.handle_fault(Failure::Truncated.into());
        }
        self.rechunker.release_incomplete();
        let outcome = if self.reader.has_error() { Outcome::ReportedError } else { Outcome::Completed };
        self.finish(outcome, Close::Clean, None);
    }

    /// Whether the stream can end here without being truncated.
    fn may_end(&self, tail: Tail) -> bool {
        match self.reader.verdict() {
            _ if self.format == Format::Opaque || self.reader.is_resumable() => true,
            Verdict::Whole => true,
            Verdict::Unknown => tail != Tail::Incomplete,
            Verdict::Missing => false,
        }
    }

    fn tail(&self) -> Tail {
        let block = self.rechunker.open_block();
        match (self.format, self.reader.large()) {
            (Format::Opaque, _) => Tail::Nothing,
            (_, Some(large)) if large.is_whole() => {
                Tail::Event { missing_line_ends: large.missing_line_ends() }
            }
            (_, Some(_)) => Tail::Incomplete,
            (Format::Lines, None) => Tail::of_lines(block),
            (Format::EventStream, None) => {
                Tail::of_events(block, |data| self.reader.is_terminal_data(data) || tail::is_whole_json(data))
            }
        }
    }

    /// Handles a fault in the middle of the body. Drops the incomplete event; then adds an error event, aborts the
    /// connection, or both.
    pub fn handle_fault(&mut self, fault: Fault) {
        if self.end.is_some() {
            return;
        }
        let is_inside_event = self.tail() == Tail::Incomplete;
        self.rechunker.drop_incomplete();
        let between_events = self.rechunker.between_events() && self.format != Format::Opaque;
        if between_events && (self.reader.has_failed() || self.reader.has_ended() && self.reader.has_error())
        {
            return self.finish(Outcome::ReportedError, self.close_of_own(fault.failure), None);
        }
        // After the terminal event, a broken connection loses nothing.
        if between_events && self.reader.has_ended() && !is_inside_event {
            return self.finish(Outcome::Completed, Close::Clean, None);
        }
        let (form, close) = match between_events {
            true => self.ending(fault.failure),
            // Part of an event has been written, so no error event can follow.
            false => (None, Close::Break),
        };
        let event = form.map(|form| error_event::render(form, fault, self.rechunker.events()));
        self.finish(Outcome::Failed(fault), close, event);
    }

    /// The error event and the close for a stream whose backend failed. Together they are at least as visible to the
    /// client as the failure itself.
    fn ending(&self, failure: Failure) -> (Option<ErrorForm<'_>>, Close) {
        let json_rpc = || match self.reader.open_requests() {
            // The clients resume such a stream, which they do only after a broken connection.
            _ if self.reader.is_resumable() => (None, Close::Break),
            // No request is waiting for a response.
            [] => (None, Close::Break),
            open => (Some(ErrorForm::JsonRpc(open)), Close::Clean),
        };
        let on_break = self.reader.dialect().on_break;
        match self.error_events {
            ErrorEvents::Off => (None, Close::Break),
            _ if self.format == Format::Lines => match on_break {
                OnBreak::Break => (Some(ErrorForm::Line), Close::Break),
                _ => (Some(ErrorForm::Line), Close::Clean),
            },
            ErrorEvents::Auto => match on_break {
                OnBreak::Superset => (Some(ErrorForm::Superset), Close::Clean),
                OnBreak::JsonRpc => json_rpc(),
                OnBreak::Own { data, .. } => (Some(ErrorForm::Own(data)), self.close_of_own(failure)),
                OnBreak::Break => (Some(ErrorForm::Superset), Close::Break),
            },
            ErrorEvents::OpenAi => (Some(ErrorForm::OpenAi), Close::Clean),
            ErrorEvents::Responses => (Some(ErrorForm::Responses), Close::Clean),
            ErrorEvents::Anthropic => (Some(ErrorForm::Anthropic), Close::Clean),
            ErrorEvents::Mcp => json_rpc(),
            ErrorEvents::Generic => (Some(ErrorForm::Generic), Close::Break),
        }
    }

    /// How to end the stream after an error event in the dialect's own format, sent by the backend or by sidestream.
    fn close_of_own(&self, failure: Failure) -> Close {
        let breaks = match self.reader.dialect().on_break {
            OnBreak::Own { close: OwnClose::Break, .. } => true,
            OnBreak::Own { close: OwnClose::AsBackend, .. } => failure.breaks_connection(),
            _ => false,
        };
        if breaks { Close::Break } else { Close::Clean }
    }

    fn finish(&mut self, outcome: Outcome, close: Close, event: Option<String>) {
        if let Some(event) = &event {
            self.rechunker.append_own(event.as_bytes());
            self.own = event.len();
        }
        (self.releases, self.beats) = (true, false);
        self.end = Some(End { outcome, close, has_error_event: event.is_some() });
    }
}
