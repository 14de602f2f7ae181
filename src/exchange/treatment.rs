//! Decides how the body of a response is treated: passed unchanged, or processed as a stream.

use http::{Method, StatusCode};

use crate::config::{StreamPolicy, TreatAsEventStream};
use crate::content_coding::ContentCoding;
use crate::http1::{Fields, ResponseHead, has_body, list};
use crate::outcome::{Cause, Failure, Fault};
use crate::session::dialect::{AI_SDK_UI, Dialect};
use crate::session::{self, Format, Unit, is_media_type};

/// The treatment of a response body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Passed unchanged.
    Opaque,
    /// The first bytes decide whether it is an event stream.
    Undecided,
    Stream(Stream),
}

/// How a stream is read, and what is sent to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The content coding to decode.
    pub coding: Option<ContentCoding>,
    pub format: Format,
    /// The unit that becomes an event, if the body is not an event stream.
    pub conversion: Option<Unit>,
    /// The dialect of the stream, if the response head names it.
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
    /// Decides by the response head and the request method. `is_asked` says whether the request asks for a
    /// stream.
    pub fn of(head: &ResponseHead, method: &Method, is_asked: bool, policy: &StreamPolicy) -> Self {
        // An error response is not a stream, whatever its type says. Nor is a partial response.
        if policy.treat_as_event_stream == TreatAsEventStream::Never
            || !head.status.is_success()
            || head.status == StatusCode::PARTIAL_CONTENT
            || !has_body(method, head.status)
        {
            return Self::Opaque;
        }
        // An unknown coding cannot be decoded.
        let Ok(coding) = coding(&head.fields) else { return Self::Opaque };
        let media_type = media_type(&head.fields);
        let has_length = head.fields.contains("Content-Length");
        let is_always = policy.treat_as_event_stream == TreatAsEventStream::Always;
        let stream = match Format::of_media_type(media_type) {
            Some(Format::EventStream) => Stream::EVENTS,
            _ if is_always => Stream::EVENTS,
            // A body with a length is a file.
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

    /// Decides after the head of an event stream was already sent to the client.
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
            // MCP servers may send a single message instead of a stream.
            None if is_media_type(media_type, "application/json") => Stream::events_from(Unit::Body),
            None => return Err(Failure::Invalid.into()),
        };
        Ok(Self::Stream(Stream { coding, dialect: dialect(&head.fields), ..stream }))
    }

    /// The content coding to decode while reading.
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

/// The dialect that the AI SDK's response field names.
fn dialect(fields: &Fields) -> Option<&'static Dialect> {
    fields.contains("X-Vercel-AI-UI-Message-Stream").then_some(&AI_SDK_UI)
}

/// The body has an unsupported coding or several.
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
