//! What is done with the body of a response: it passes as it is, or it is a stream.

use http::Method;

use crate::config::{StreamPolicy, TreatAsEventStream};
use crate::content_coding::ContentCoding;
use crate::event_stream::{Format, Unit, is_media_type};
use crate::http1::{Fields, ResponseHead, has_body, list};
use crate::outcome::UpstreamFault;

/// What is done with the body of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// It passes as it is.
    Opaque,
    /// Its first bytes tell whether it is an event stream.
    Undecided,
    Stream(Stream),
}

/// How the body of a stream is read, and what goes downstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Undone while it is read.
    pub coding: Option<ContentCoding>,
    pub format: Format,
    /// What becomes an event, if the body has none yet.
    pub conversion: Option<Unit>,
}

impl Stream {
    pub const EVENTS: Self = Self { coding: None, format: Format::EventStream, conversion: None };

    fn events_from(unit: Unit) -> Self {
        Self { conversion: Some(unit), ..Self::EVENTS }
    }
}

impl Treatment {
    /// Decides by the head of a response to a request with this method.
    pub fn of(head: &ResponseHead, method: &Method, policy: &StreamPolicy) -> Self {
        let is_always =
            policy.treat_as_event_stream == TreatAsEventStream::Always && head.status.is_success();
        if policy.treat_as_event_stream == TreatAsEventStream::Never || !has_body(method, head.status) {
            return Self::Opaque;
        }
        // A coding that is not known here passes untouched.
        let Ok(coding) = coding(&head.fields) else { return Self::Opaque };
        let media_type = media_type(&head.fields);
        let has_length = head.fields.contains("Content-Length");
        let stream = match Format::of_content_type(media_type) {
            Some(Format::EventStream) => Stream::EVENTS,
            _ if is_always => Stream::EVENTS,
            // With a length it is a file.
            Some(Format::Lines) if has_length => return Self::Opaque,
            Some(Format::Lines) if policy.ndjson_to_sse => Stream::events_from(Unit::Line),
            Some(Format::Lines) => Stream { format: Format::Lines, ..Stream::EVENTS },
            None if is_media_type(media_type, "text/plain")
                && !has_length
                && coding.is_none()
                && head.status.is_success() =>
            {
                return Self::Undecided;
            }
            None => return Self::Opaque,
        };
        Self::Stream(Stream { coding, ..stream })
    }

    /// Decides where the head of an event stream went downstream before this head was there.
    pub fn of_begun(
        head: &ResponseHead,
        method: &Method,
        policy: &StreamPolicy,
    ) -> Result<Self, UpstreamFault> {
        if !head.status.is_success() || !has_body(method, head.status) {
            return Err(UpstreamFault::Status(head.status));
        }
        let coding = coding(&head.fields).map_err(|UnknownCoding| UpstreamFault::Invalid)?;
        let media_type = media_type(&head.fields);
        let is_always = policy.treat_as_event_stream == TreatAsEventStream::Always;
        let stream = match Format::of_content_type(media_type) {
            Some(Format::EventStream) => Stream::EVENTS,
            Some(Format::Lines) => Stream::events_from(Unit::Line),
            None if is_always || is_media_type(media_type, "text/plain") => Stream::EVENTS,
            // MCP servers may answer with one message where they could stream.
            None if is_media_type(media_type, "application/json") => Stream::events_from(Unit::Body),
            None => return Err(UpstreamFault::Invalid),
        };
        Ok(Self::Stream(Stream { coding, ..stream }))
    }

    /// The coding that is undone while the body is read.
    pub fn coding(self) -> Option<ContentCoding> {
        match self {
            Self::Stream(stream) => stream.coding,
            Self::Opaque | Self::Undecided => None,
        }
    }
}

fn media_type(fields: &Fields) -> &[u8] {
    fields.value("Content-Type").unwrap_or_default()
}

/// A body in a coding that cannot be undone, or in several.
struct UnknownCoding;

fn coding(fields: &Fields) -> Result<Option<ContentCoding>, UnknownCoding> {
    let mut names =
        list(fields.values("Content-Encoding")).filter(|name| !name.eq_ignore_ascii_case(b"identity"));
    match (names.next(), names.next()) {
        (None, _) => Ok(None),
        (Some(name), None) => ContentCoding::named(name).map(Some).ok_or(UnknownCoding),
        (Some(_), Some(_)) => Err(UnknownCoding),
    }
}
