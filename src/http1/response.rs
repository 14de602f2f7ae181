//! The head of a response, as it comes from the backend and as it goes to the client (RFC 9112, 4).

use std::mem::MaybeUninit;
use std::time::Duration;

use bytes::BytesMut;
use http::{HeaderName, HeaderValue, StatusCode, Version};

use super::validate::{length, list};
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
    /// It had a length and a coding, so where it ends may be something else to somebody else (RFC 9112, 6.3).
    has_both: bool,
    pub fields: Fields,
}

impl ResponseHead {
    pub fn new(status: StatusCode) -> Self {
        Self { status, version: Version::HTTP_11, reason: None, has_both: false, fields: Fields::default() }
    }

    /// What was received over HTTP/2.
    pub fn received(status: StatusCode, fields: Fields) -> Result<Self, Malformed> {
        let mut head = Self { fields, ..Self::new(status) };
        head.one_length()?;
        Ok(head)
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
            has_both: false,
            fields: Fields::within(&input[..length], response.headers)?,
        };
        head.one_length()?;
        let _ = input.split_to(length);
        Ok(Some(head))
    }

    /// Leaves one length, or none beside a coding, which overrides it (RFC 9112, 6.3). Several must be one (RFC 9110, 8.6).
    fn one_length(&mut self) -> Result<(), Malformed> {
        const NAME: &str = "Content-Length";
        if !self.fields.contains(NAME) {
            return Ok(());
        }
        let values = self.fields.values(NAME).flat_map(|value| value.split(|byte| *byte == b','));
        let lengths: Vec<_> = values.map(|value| length(value.trim_ascii())).collect();
        let first = lengths.first().copied().flatten().ok_or(Malformed)?;
        if lengths.iter().any(|other| *other != Some(first)) {
            return Err(Malformed);
        }
        self.has_both = self.fields.contains("Transfer-Encoding");
        // RFC 9110, 8.6: these have no length.
        if self.has_both || self.status.is_informational() || self.status == StatusCode::NO_CONTENT {
            self.fields.remove(NAME);
        } else if lengths.len() > 1 {
            self.fields.set(NAME, first.to_string());
        }
        Ok(())
    }

    /// As it was received over HTTP/1.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether the connection may carry another exchange after a whole response with this head (RFC 9112, 9.3).
    pub fn keeps_alive(&self) -> bool {
        let mut options = list(self.fields.values("Connection"));
        match self.version {
            _ if self.has_both => false,
            Version::HTTP_11 => !options.any(|option| option.eq_ignore_ascii_case(b"close")),
            // RFC 9112, 6.1: one with a transfer coding is not to be trusted.
            _ => {
                !self.fields.contains("Transfer-Encoding")
                    && options.any(|option| option.eq_ignore_ascii_case(b"keep-alive"))
            }
        }
    }

    /// For how long an idle connection is kept by the server, as far as it says so: `Keep-Alive: timeout=5` (RFC 2068, 19.7.1.1).
    pub fn keep_alive_timeout(&self) -> Option<Duration> {
        let timeout = |option: &[u8]| {
            let (name, seconds) = std::str::from_utf8(option).ok()?.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("timeout")
                .then(|| seconds.trim().trim_matches('"').parse().ok())?
        };
        list(self.fields.values("Keep-Alive")).find_map(timeout).map(Duration::from_secs)
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

    /// As it goes over HTTP/2; `None`: it has a field that cannot be written there.
    pub fn to_http2(&self) -> Option<http::Response<()>> {
        let mut response = http::Response::new(());
        *response.status_mut() = self.status;
        for (name, value) in self.fields.iter() {
            let (name, value) = (HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?);
            response.headers_mut().append(name, value);
        }
        Some(response)
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
    fn several_lengths_are_one_or_none_is_believed() {
        for lengths in ["3, 3", "3\r\nContent-Length: 3", "3,3\r\nContent-Length: 3"] {
            let head = parse(&format!("HTTP/1.1 200 OK\r\nContent-Length: {lengths}\r\n\r\n"));
            let lengths = head.expect("a head").fields;
            assert_eq!(lengths.values("content-length").collect::<Vec<_>>(), [b"3"]);
        }
        for lengths in ["", "3,", "3, 4", "3\r\nContent-Length: 4", "+3", "0x3", "3;", "18446744073709551616"]
        {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {lengths}\r\n\r\n");
            assert!(ResponseHead::parse(&mut BytesMut::from(&head[..])).is_err(), "{lengths}");
        }
    }

    #[test]
    fn what_has_no_body_has_no_length() {
        for status in ["103 Early Hints", "204 No Content"] {
            let head = parse(&format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n"));
            assert!(!head.expect("a head").fields.contains("Content-Length"), "{status}");
        }
        // That of a HEAD, or of what has not changed, tells of another response.
        let head = parse("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n").expect("a head");
        assert!(head.fields.contains("Content-Length"));
    }

    #[test]
    fn the_version_and_the_options_decide_whether_the_connection_lives_on() {
        for (head, lives) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", true),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n", false),
        ] {
            assert_eq!(parse(head).expect("a head").keeps_alive(), lives, "{head:?}");
        }
    }

    #[test]
    fn over_http2_it_is_the_same() {
        let head = parse("HTTP/1.1 404 Gone Fishing\r\nx-a: b\r\nX-A: c\r\n\r\n").expect("a head");
        let response = head.to_http2().expect("a head");
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers().get_all("x-a").iter().collect::<Vec<_>>(), ["b", "c"]);
    }
}
