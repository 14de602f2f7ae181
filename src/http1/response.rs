//! The head of a response, as received from a backend or as sent to a client (RFC 9112, 4).

use std::mem::MaybeUninit;
use std::time::Duration;

use bytes::BytesMut;
use http::{HeaderName, HeaderValue, StatusCode, Version};

use super::validate::{length, list};
use super::{Fields, Malformed};

/// The most fields in a head.
const MAX_FIELDS: usize = 256;
/// The most bytes in a head.
const MAX_SIZE: usize = 256 * 1024;

/// The head of a response.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// The status code.
    pub status: StatusCode,
    /// The version in which the backend sent it.
    version: Version,
    /// The reason phrase, if it differs from the standard one.
    reason: Option<String>,
    /// It had a length and a transfer coding, so implementations may disagree about its end (RFC 9112, 6.3).
    has_both: bool,
    /// The header fields.
    pub fields: Fields,
}

impl ResponseHead {
    /// A head without fields.
    pub fn new(status: StatusCode) -> Self {
        Self { status, version: Version::HTTP_11, reason: None, has_both: false, fields: Fields::default() }
    }

    /// A head that was received over HTTP/2.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if `Content-Length` is invalid or contradictory.
    pub fn received(status: StatusCode, fields: Fields) -> Result<Self, Malformed> {
        let mut head = Self { fields, ..Self::new(status) };
        head.one_length()?;
        Ok(head)
    }

    /// Removes a complete HTTP/1.1 head from the front of `input`. `None`: the head is not complete yet.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the head is invalid or too large.
    pub fn parse(input: &mut BytesMut) -> Result<Option<Self>, Malformed> {
        let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut []);
        let mut config = httparse::ParserConfig::default();
        // Some applications send these, and other proxies accept them.
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

    /// Reduces `Content-Length` to one value, which all given values must equal (RFC 9110, 8.6). Removes it if there is a
    /// transfer coding, which takes precedence (RFC 9112, 6.3).
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
        // RFC 9110, 8.6: 1xx and 204 must not have a length.
        if self.has_both || self.status.is_informational() || self.status == StatusCode::NO_CONTENT {
            self.fields.remove(NAME);
        } else if lengths.len() > 1 {
            self.fields.set(NAME, first.to_string());
        }
        Ok(())
    }

    /// The version in which the backend sent it: HTTP/1.0 or HTTP/1.1.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether the connection may carry another exchange after a whole response with this head (RFC 9112, 9.3).
    pub fn keeps_alive(&self) -> bool {
        let mut options = list(self.fields.values("Connection"));
        match self.version {
            _ if self.has_both => false,
            Version::HTTP_11 => !options.any(|option| option.eq_ignore_ascii_case(b"close")),
            // RFC 9112, 6.1: the framing of HTTP/1.0 with a transfer coding cannot be trusted.
            _ => {
                !self.fields.contains("Transfer-Encoding")
                    && options.any(|option| option.eq_ignore_ascii_case(b"keep-alive"))
            }
        }
    }

    /// How long the server keeps the idle connection, if it says so: `Keep-Alive: timeout=5`, in seconds
    /// (RFC 2068, 19.7.1.1).
    pub fn keep_alive_timeout(&self) -> Option<Duration> {
        let timeout = |option: &[u8]| {
            let (name, seconds) = std::str::from_utf8(option).ok()?.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("timeout")
                .then(|| seconds.trim().trim_matches('"').parse().ok())?
        };
        list(self.fields.values("Keep-Alive")).find_map(timeout).map(Duration::from_secs)
    }

    /// The head in the format of HTTP/1.1.
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

    /// The head for HTTP/2. `None`: a field is not valid there.
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
#[allow(clippy::expect_used, reason = "a panic fails the test")]
mod tests {
    use super::*;

    fn parse(head: &str) -> Option<ResponseHead> {
        ResponseHead::parse(&mut BytesMut::from(head)).ok().flatten()
    }

    fn again(head: &str) -> String {
        String::from_utf8_lossy(&parse(head).expect("a head").to_wire()).into_owned()
    }

    #[test]
    fn a_head_is_relayed_unchanged() {
        for head in [
            "HTTP/1.1 200 OK\r\ncontent-TYPE: a/b\r\nX-Empty: \r\nA: 1\r\nA: 2\r\n\r\n",
            "HTTP/1.1 404 Gone Fishing\r\n\r\n",
            "HTTP/1.1 299 \r\nA: \u{e9}\r\n\r\n",
        ] {
            assert_eq!(again(head), head);
        }
    }

    #[test]
    fn bytes_after_the_head_stay_in_the_buffer() {
        let mut input = BytesMut::from("HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody");
        assert!(matches!(ResponseHead::parse(&mut input), Ok(Some(_))));
        assert_eq!(input, "body");
        assert!(parse("HTTP/1.1 200 OK\r\nA: b\r\n").is_none());
    }

    #[test]
    fn tolerated_deviations_are_corrected() {
        assert_eq!(again("HTTP/1.0 200 OK\nA : b\r\n  c\r\n\r\n"), "HTTP/1.1 200 OK\r\nA: b    c\r\n\r\n");
        let both = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(!parse(both).expect("a head").fields.contains("content-length"));
    }

    #[test]
    fn equal_lengths_are_merged_and_others_are_rejected() {
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
    fn statuses_without_a_body_lose_their_length() {
        for status in ["103 Early Hints", "204 No Content"] {
            let head = parse(&format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n"));
            assert!(!head.expect("a head").fields.contains("Content-Length"), "{status}");
        }
        // The length in a 304, as in a response to HEAD, describes the body of a 200.
        let head = parse("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n").expect("a head");
        assert!(head.fields.contains("Content-Length"));
    }

    #[test]
    fn version_and_options_decide_about_keep_alive() {
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
    fn status_and_fields_are_the_same_over_http2() {
        let head = parse("HTTP/1.1 404 Gone Fishing\r\nx-a: b\r\nX-A: c\r\n\r\n").expect("a head");
        let response = head.to_http2().expect("a head");
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers().get_all("x-a").iter().collect::<Vec<_>>(), ["b", "c"]);
    }
}
