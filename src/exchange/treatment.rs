//! What is done with the body of a response: it passes as it is, or it is a stream.

use http::{Method, StatusCode};

use crate::config::{StreamPolicy, TreatAsEventStream};
use crate::content_coding::ContentCoding;
use crate::http1::{Fields, ResponseHead, has_body, list};
use crate::outcome::{Cause, Failure, Fault};
use crate::session::dialect::{AI_SDK_UI, Dialect};
use crate::session::{self, Format, Unit, is_media_type};

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
    /// What the stream speaks, if the head says it.
    pub dialect: Option<&'static Dialect>,
}

impl Stream {
    pub const EVENTS: Self =
        Self { coding: None, format: Format::EventStream, conversion: None, dialect: None };

    fn events_from(unit: Unit) -> Self {
        Self { conversion: Some(unit), ..Self::EVENTS }
    }
}

impl Treatment {
    /// Decides by the head of a response to a request with this method; `is_asked`: which asks for a stream.
    pub fn of(head: &ResponseHead, method: &Method, is_asked: bool, policy: &StreamPolicy) -> Self {
        // What is no success is the backend's own answer, whatever its type says; and a part of a body is none.
        if policy.treat_as_event_stream == TreatAsEventStream::Never
            || !head.status.is_success()
            || head.status == StatusCode::PARTIAL_CONTENT
            || !has_body(method, head.status)
        {
            return Self::Opaque;
        }
        // A coding that is not known here passes untouched.
        let Ok(coding) = coding(&head.fields) else { return Self::Opaque };
        let media_type = media_type(&head.fields);
        let has_length = head.fields.contains("Content-Length");
        let is_always = policy.treat_as_event_stream == TreatAsEventStream::Always;
        let stream = match Format::of_media_type(media_type) {
            Some(Format::EventStream) => Stream::EVENTS,
            _ if is_always => Stream::EVENTS,
            // With a length it is a file.
            Some(_) if has_length => return Self::Opaque,
            Some(_) if policy.ndjson_to_sse => Stream::events_from(Unit::Line),
            Some(format) => Stream { format, ..Stream::EVENTS },
            None if is_media_type(media_type, "text/plain")
                && is_asked
                && !has_length
                && coding.is_none() =>
            {
                return Self::Undecided;
            }
            None => return Self::Opaque,
        };
        Self::Stream(Stream { coding, dialect: dialect(&head.fields), ..stream })
    }

    /// Decides where the head of an event stream went downstream before this head was there.
    pub fn of_begun(head: &ResponseHead, method: &Method, policy: &StreamPolicy) -> Result<Self, Fault> {
        if !head.status.is_success() || !has_body(method, head.status) {
            return Err(Fault::caused(Failure::Status, Cause::Status(head.status.as_u16())));
        }
        let coding = coding(&head.fields).map_err(|UnknownCoding| Failure::Invalid)?;
        let media_type = media_type(&head.fields);
        let is_always = policy.treat_as_event_stream == TreatAsEventStream::Always;
        let stream = match Format::of_media_type(media_type) {
            Some(Format::EventStream) => Stream::EVENTS,
            Some(_) => Stream::events_from(Unit::Line),
            None if is_always || is_media_type(media_type, "text/plain") => Stream::EVENTS,
            // MCP servers may answer with one message where they could stream.
            None if is_media_type(media_type, "application/json") => Stream::events_from(Unit::Body),
            None => return Err(Failure::Invalid.into()),
        };
        Ok(Self::Stream(Stream { coding, dialect: dialect(&head.fields), ..stream }))
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
    session::media_type(fields.values("Content-Type"))
}

/// What a field of the AI SDK says that the stream speaks.
fn dialect(fields: &Fields) -> Option<&'static Dialect> {
    fields.contains("X-Vercel-AI-UI-Message-Stream").then_some(&AI_SDK_UI)
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
