//! Where the body of a message ends, and what of the bytes on the connection is its content (RFC 9112, 6). Sans-IO.

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};

use super::chunked::{Chunked, NEXT_CHUNK};
use super::validate::length;
use super::{Fields, Malformed, TrailerLines};

/// Takes a body as it comes off the connection, in any pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyDecoder {
    /// So many bytes are still to come.
    Length(u64),
    Chunked(Chunked),
    /// The end of the connection is the end of the body.
    UntilClose,
    Ended,
}

/// Whether a response to this method with this status has a body (RFC 9112, 6.3).
pub fn has_body(method: &Method, status: StatusCode) -> bool {
    method != Method::HEAD && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}

impl BodyDecoder {
    /// The framing of a response with this head (RFC 9112, 6.3).
    pub fn of_response(method: &Method, status: StatusCode, fields: &Fields) -> Result<Self, Malformed> {
        let mut codings = fields.values("Transfer-Encoding");
        let is_chunked = match (codings.next(), codings.next()) {
            (None, _) => false,
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => true,
            // Nobody has asked for another one, and passed on it would be content that no field tells of.
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

    /// The framing of a request whose fields have been checked: a length that is a number, or the coding `chunked`, or no body.
    pub(super) fn of_request(fields: &Fields) -> Self {
        if fields.contains("Transfer-Encoding") {
            return Self::chunked();
        }
        match fields.value("Content-Length").and_then(length) {
            None | Some(0) => Self::Ended,
            Some(length) => Self::Length(length),
        }
    }

    pub fn chunked() -> Self {
        Self::Chunked(NEXT_CHUNK)
    }

    /// Whether nothing of the body is still to come.
    pub fn is_ended(self) -> bool {
        self == Self::Ended
    }

    /// Takes what was read and hands the content in it to `sink`; returns how many bytes belong to this body, which are all of
    /// them unless it ends.
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

    /// Like [`Self::decode`], and keeps the lines of the trailers of a chunked body.
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

    /// Takes what there is of the body out of `input`, and returns the content of it.
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

    /// Takes the end of the connection; returns whether the body may end there.
    pub fn close(&mut self) -> bool {
        let may_end = matches!(self, Self::UntilClose | Self::Ended);
        *self = Self::Ended;
        may_end
    }
}

/// How many of so many bytes are there.
pub(super) fn clamp(left: u64, length: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(length)
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test that cannot go on has failed")]
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
