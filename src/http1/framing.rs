//! How the body of a message that is sent ends (RFC 9112, 6).

use http::Method;

use super::{Chunk, Fields, LAST_CHUNK, ResponseHead, has_body};

/// How the body of a message over HTTP/1.1 ends (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    Chunked,
    /// With its last byte: its length is known, or it has none.
    Length,
    /// With the connection.
    UntilClose,
}

impl BodyFraming {
    pub fn of_request(fields: &Fields) -> Self {
        if fields.contains("Transfer-Encoding") { Self::Chunked } else { Self::Length }
    }

    /// `method`: of the request.
    pub fn of_response(response: &ResponseHead, method: &Method) -> Self {
        if response.fields.contains("Transfer-Encoding") {
            Self::Chunked
        } else if response.fields.contains("Content-Length") || !has_body(method, response.status) {
            Self::Length
        } else {
            Self::UntilClose
        }
    }

    /// What goes over the wire for a piece of the body, which must not be empty.
    pub fn pieces<'a>(self, chunk: &'a Chunk<'_>) -> [&'a [u8]; 3] {
        match self {
            Self::Chunked => chunk.pieces(),
            Self::Length | Self::UntilClose => [chunk.data(), &[], &[]],
        }
    }

    /// Likewise for the last piece, which may be empty, and the end of the body.
    pub fn last_pieces<'a>(self, chunk: &'a Chunk<'_>) -> [&'a [u8]; 3] {
        match self {
            Self::Chunked if chunk.data().is_empty() => [LAST_CHUNK, &[], &[]],
            Self::Chunked => chunk.last_pieces(),
            Self::Length | Self::UntilClose => [chunk.data(), &[], &[]],
        }
    }
}
