//! The head of a response, as it comes from the backend and as it goes to the client (RFC 9112, 4).

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::{StatusCode, Version};
use pingora::http::ResponseHeader;

use super::fields::written;
use super::{Fields, Malformed};

/// Fields of a head.
const MAX_FIELDS: usize = 256;
/// Bytes of a head.
const MAX_SIZE: usize = 256 * 1024;

#[derive(Clone, Debug)]
pub struct ResponseHead {
    pub status: StatusCode,
    /// As it was received.
    version: Version,
    /// Where the backend's is not what everybody says.
    reason: Option<String>,
    pub fields: Fields,
}

impl ResponseHead {
    pub fn new(status: StatusCode) -> Self {
        Self { status, version: Version::HTTP_11, reason: None, fields: Fields::default() }
    }

    /// Takes a whole head out of what was read over HTTP/1.1; `None`: more of it is to come.
    pub fn parse(input: &mut BytesMut) -> Result<Option<Self>, Malformed> {
        let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut []);
        let mut config = httparse::ParserConfig::default();
        // What applications of all kinds send, and what every proxy lets pass.
        config.allow_spaces_after_header_name_in_responses(true);
        config.allow_obsolete_multiline_headers_in_responses(true);
        let length = match config.parse_response_with_uninit_headers(&mut response, input, &mut fields) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if input.len() <= MAX_SIZE => return Ok(None),
            Ok(httparse::Status::Partial) | Err(_) => return Err(Malformed),
        };
        let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Malformed)?;
        let usual = status.canonical_reason();
        let mut head = Self {
            status,
            version: if response.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 },
            reason: response.reason.filter(|reason| Some(*reason) != usual).map(str::to_owned),
            fields: Fields::within(&input[..length], response.headers)?,
        };
        if head.fields.contains("Transfer-Encoding") {
            // It overrides the length, and a proxy removes that (RFC 9112, 6.3).
            head.fields.remove("Content-Length");
        }
        let _ = input.split_to(length);
        Ok(Some(head))
    }

    /// Whether the connection may carry another exchange after a whole response with this head (RFC 9112, 9.3).
    pub fn keeps_alive(&self) -> bool {
        let options = self.fields.values("Connection");
        let mut options = options.flat_map(|value| value.split(|b| *b == b',')).map(<[u8]>::trim_ascii);
        match self.version {
            Version::HTTP_11 => !options.any(|option| option.eq_ignore_ascii_case(b"close")),
            // RFC 9112, 6.1: one with a transfer coding is not to be trusted.
            _ => {
                !self.fields.contains("Transfer-Encoding")
                    && options.any(|option| option.eq_ignore_ascii_case(b"keep-alive"))
            }
        }
    }

    /// As it goes over HTTP/1.1.
    pub fn to_wire(&self) -> Vec<u8> {
        const ROOM: usize = 512;
        let reason = self.reason.as_deref().or(self.status.canonical_reason()).unwrap_or_default();
        let mut wire = Vec::with_capacity(ROOM);
        for piece in ["HTTP/1.1 ", self.status.as_str(), " ", reason, "\r\n"] {
            wire.extend_from_slice(piece.as_bytes());
        }
        self.fields.write_to(&mut wire);
        wire
    }

    /// As pingora knows it, for what it sends itself.
    pub fn to_pingora(&self) -> pingora::Result<ResponseHeader> {
        let mut response = ResponseHeader::build(self.status, Some(self.fields.len()))?;
        response.set_reason_phrase(self.reason.as_deref())?;
        for (name, value) in self.fields.iter() {
            response.append_header(String::from_utf8_lossy(name).into_owned(), value)?;
        }
        Ok(response)
    }
}

/// What pingora has read.
impl From<&ResponseHeader> for ResponseHead {
    fn from(response: &ResponseHeader) -> Self {
        let mut head = Self::new(response.status);
        // The closure never fails, so the walk does not.
        let _ = response.map(|name, value| {
            head.fields.append(written(&name), value);
            Ok(())
        });
        head
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    fn parse(head: &str) -> Option<ResponseHead> {
        ResponseHead::parse(&mut BytesMut::from(head)).ok().flatten()
    }

    fn again(head: &str) -> String {
        String::from_utf8_lossy(&parse(head).expect("a head").to_wire()).into_owned()
    }

    #[test]
    fn a_head_goes_on_as_it_came() {
        for head in [
            "HTTP/1.1 200 OK\r\ncontent-TYPE: a/b\r\nX-Empty: \r\nA: 1\r\nA: 2\r\n\r\n",
            "HTTP/1.1 404 Gone Fishing\r\n\r\n",
            "HTTP/1.1 299 \r\nA: \u{e9}\r\n\r\n",
        ] {
            assert_eq!(again(head), head);
        }
    }

    #[test]
    fn what_follows_a_head_stays() {
        let mut input = BytesMut::from("HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody");
        assert!(matches!(ResponseHead::parse(&mut input), Ok(Some(_))));
        assert_eq!(input, "body");
        assert!(parse("HTTP/1.1 200 OK\r\nA: b\r\n").is_none());
    }

    #[test]
    fn what_everybody_lets_pass_is_put_right() {
        assert_eq!(again("HTTP/1.0 200 OK\nA : b\r\n  c\r\n\r\n"), "HTTP/1.1 200 OK\r\nA: b    c\r\n\r\n");
        let both = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(!parse(both).expect("a head").fields.contains("content-length"));
    }

    #[test]
    fn the_version_and_the_options_decide_whether_the_connection_lives_on() {
        for (head, lives) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", true),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n", false),
        ] {
            assert_eq!(parse(head).expect("a head").keeps_alive(), lives, "{head:?}");
        }
    }

    #[test]
    fn pingora_is_told_the_same() {
        let head = parse("HTTP/1.1 404 Gone Fishing\r\nx-a: b\r\nX-A: c\r\n\r\n").expect("a head");
        let response = head.to_pingora().expect("a head");
        assert_eq!(response.get_reason_phrase(), Some("Gone Fishing"));
        assert_eq!(ResponseHead::from(&response).fields.values("x-a").collect::<Vec<_>>(), [b"b", b"c"]);
    }
}
