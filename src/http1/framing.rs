//! The framing of the bodies that sidestream sends (RFC 9112, 6).

use http::Method;

use super::{Chunk, Fields, LAST_CHUNK, ResponseHead, has_body};

/// How the end of an HTTP/1.1 body is marked (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// By the last chunk.
    Chunked,
    /// By its length, which may be 0.
    Length,
    /// By the end of the connection.
    UntilClose,
}

impl BodyFraming {
    /// The framing of a request with these fields.
    pub fn of_request(fields: &Fields) -> Self {
        if fields.contains("Transfer-Encoding") { Self::Chunked } else { Self::Length }
    }

    /// The framing of a response. `method`: the method of its request.
    pub fn of_response(response: &ResponseHead, method: &Method) -> Self {
        if response.fields.contains("Transfer-Encoding") {
            Self::Chunked
        } else if response.fields.contains("Content-Length") || !has_body(method, response.status) {
            Self::Length
        } else {
            Self::UntilClose
        }
    }

    /// The bytes to send for a piece of the body, which must not be empty.
    pub fn pieces<'a>(self, chunk: &'a Chunk<'_>) -> [&'a [u8]; 3] {
        match self {
            Self::Chunked => chunk.pieces(),
            Self::Length | Self::UntilClose => [chunk.data(), &[], &[]],
        }
    }

    /// The bytes to send for the last piece, which may be empty, and the end of the body.
    pub fn last_pieces<'a>(self, chunk: &'a Chunk<'_>) -> [&'a [u8]; 3] {
        match self {
            Self::Chunked if chunk.data().is_empty() => [LAST_CHUNK, &[], &[]],
            Self::Chunked => chunk.last_pieces(),
            Self::Length | Self::UntilClose => [chunk.data(), &[], &[]],
        }
    }
}
