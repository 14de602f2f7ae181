//! Decodes the body of a message: finds its end, and extracts its content from the framing (RFC 9112, 6). Sans-IO.

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};

use super::chunked::{Chunked, NEXT_CHUNK};
use super::validate::length;
use super::{Fields, Malformed, TrailerLines};

/// Decodes one body from the bytes of a connection, in pieces of any size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyDecoder {
    /// The number of bytes that are still missing.
    Length(u64),
    /// The state within a chunked body.
    Chunked(Chunked),
    /// The end of the connection ends the body.
    UntilClose,
    /// The body is complete.
    Ended,
}

/// Whether a response to this method with this status has a body (RFC 9112, 6.3).
pub fn has_body(method: &Method, status: StatusCode) -> bool {
    method != Method::HEAD && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}

impl BodyDecoder {
    /// The framing of the response to a request with this method (RFC 9112, 6.3).
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the length is not a number, or if the transfer coding is anything but a single `chunked`.
    pub fn of_response(method: &Method, status: StatusCode, fields: &Fields) -> Result<Self, Malformed> {
        let mut codings = fields.values("Transfer-Encoding");
        let is_chunked = match (codings.next(), codings.next()) {
            (None, _) => false,
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => true,
            // The request asked for no other coding, and the content would reach the client still encoded.
            (Some(_), _) => return Err(Malformed),
        };
        if status.is_informational() || !has_body(method, status) {
            return Ok(Self::Ended);
        }
        if is_chunked {
            return Ok(Self::chunked());
        }
        match fields.value("Content-Length").map(length) {
            Some(Some(0)) => Ok(Self::Ended),
            Some(Some(length)) => Ok(Self::Length(length)),
            Some(None) => Err(Malformed),
            None => Ok(Self::UntilClose),
        }
    }

    /// The framing of a request. The parser has checked its fields: a numeric length, or the coding `chunked`, or neither.
    pub(super) fn of_request(fields: &Fields) -> Self {
        if fields.contains("Transfer-Encoding") {
            return Self::chunked();
        }
        match fields.value("Content-Length").and_then(length) {
            None | Some(0) => Self::Ended,
            Some(length) => Self::Length(length),
        }
    }

    /// A chunked body at its beginning.
    pub fn chunked() -> Self {
        Self::Chunked(NEXT_CHUNK)
    }

    /// Whether the body is complete.
    pub fn is_ended(self) -> bool {
        self == Self::Ended
    }

    /// Decodes `input` and passes the content to `sink`. Returns how many bytes belong to this body: all of `input`,
    /// unless the body ends in it.
    pub fn decode(&mut self, input: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<usize, Malformed> {
        match self {
            Self::Ended => Ok(0),
            Self::UntilClose => {
                sink(input);
                Ok(input.len())
            }
            Self::Length(left) => {
                let taken = clamp(*left, input.len());
                sink(&input[..taken]);
                *left -= taken as u64;
                if *left == 0 {
                    *self = Self::Ended;
                }
                Ok(taken)
            }
            Self::Chunked(chunked) => {
                let (taken, is_ended) = chunked.decode(input, sink)?;
                if is_ended {
                    *self = Self::Ended;
                }
                Ok(taken)
            }
        }
    }

    /// Like [`Self::decode`], but also keeps the trailers of a chunked body.
    pub fn decode_with_trailers(
        &mut self,
        input: &[u8],
        sink: &mut dyn FnMut(&[u8]),
        trailers: &mut TrailerLines,
    ) -> Result<usize, Malformed> {
        let Self::Chunked(chunked) = self else { return self.decode(input, sink) };
        let (taken, is_ended) = chunked.decode_with_trailers(input, sink, trailers)?;
        if is_ended {
            *self = Self::Ended;
        }
        Ok(taken)
    }

    /// Removes the bytes of this body from the front of `input` and returns their content. Chunked content is copied.
    pub fn take(&mut self, input: &mut BytesMut) -> Result<Bytes, Malformed> {
        if let Self::Length(left) = self {
            let piece = input.split_to(clamp(*left, input.len())).freeze();
            *left -= piece.len() as u64;
            if *left == 0 {
                *self = Self::Ended;
            }
            return Ok(piece);
        }
        let mut content = BytesMut::with_capacity(input.len());
        let taken = self.decode(input, &mut |bytes| content.extend_from_slice(bytes))?;
        let _ = input.split_to(taken);
        Ok(content.freeze())
    }

    /// Handles the end of the connection. Returns whether the body is complete.
    pub fn close(&mut self) -> bool {
        let may_end = matches!(self, Self::UntilClose | Self::Ended);
        *self = Self::Ended;
        may_end
    }
}

/// The smaller of the bytes that are missing and the bytes that are available.
pub(super) fn clamp(left: u64, length: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(length)
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a panic fails the test")]
mod tests {
    use super::*;

    #[test]
    fn the_head_decides_where_the_body_ends() {
        let of = |method: Method, status: u16, fields: &[(&str, &str)]| {
            let mut head = Fields::default();
            fields.iter().for_each(|(name, value)| head.append(name, value));
            let status = StatusCode::from_u16(status).expect("a status");
            BodyDecoder::of_response(&method, status, &head)
        };
        let get = |fields: &[(&str, &str)]| of(Method::GET, 200, fields);
        let chunked = ("transfer-encoding", "Chunked");
        assert_eq!(get(&[]), Ok(BodyDecoder::UntilClose));
        assert_eq!(get(&[("content-length", "3")]), Ok(BodyDecoder::Length(3)));
        assert_eq!(get(&[chunked]), Ok(BodyDecoder::chunked()));
        assert_eq!(get(&[("content-length", "0")]), Ok(BodyDecoder::Ended));
        for coding in ["gzip, chunked", "chunked, gzip", "chunked, chunked", "gzip", "identity", ""] {
            assert_eq!(get(&[("transfer-encoding", coding)]), Err(Malformed), "{coding:?}");
        }
        assert_eq!(get(&[chunked, chunked]), Err(Malformed));
        for (method, status) in
            [(Method::HEAD, 200), (Method::GET, 204), (Method::GET, 304), (Method::GET, 103)]
        {
            assert_eq!(of(method, status, &[chunked]), Ok(BodyDecoder::Ended), "{status}");
        }
    }

    #[test]
    fn only_a_body_without_length_may_end_with_its_connection() {
        assert!(BodyDecoder::UntilClose.close());
        assert!(!BodyDecoder::Length(1).close());
        assert!(!BodyDecoder::chunked().close());
    }
}
