//! The head of a request, as received from a client or as sent upstream (RFC 9112, 3).

use std::borrow::Cow;

use http::request::Parts;
use http::{Method, Version};

use super::validate::{is_host, is_target_byte, is_token, length};
use super::{BadHead, BodyDecoder, Fields};

/// Initial capacity in bytes. Most heads fit, including the fields added on the way upstream.
const BYTES: usize = 1000;
/// Initial capacity in fields.
const FIELDS: usize = 24;

/// A validated head: at most one `Host`, and an unambiguous body length.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// In origin form or asterisk form (RFC 9112, 3.2).
    target: Vec<u8>,
    /// The version in which the client sent the request.
    pub version: Version,
    /// The header fields.
    pub fields: Fields,
}

/// A placeholder for a request whose head could not be parsed.
impl Default for RequestHead {
    fn default() -> Self {
        Self::new(Method::default(), Vec::new(), Version::HTTP_11, Fields::default())
    }
}

impl RequestHead {
    pub(super) fn new(method: Method, target: Vec<u8>, version: Version, fields: Fields) -> Self {
        Self { method, target, version, fields }
    }

    /// A GET of this path, for requests that sidestream itself sends.
    pub fn get(path: &str) -> Self {
        Self::new(Method::GET, path.as_bytes().to_vec(), Version::HTTP_11, Fields::default())
    }

    /// Converts an HTTP/2 head, which must be valid in HTTP/1.1 too (RFC 9113, 8.2 and 8.3). The framing of HTTP/2 leaves
    /// fewer ambiguities to check.
    ///
    /// # Errors
    ///
    /// [`BadHead`] with the reason.
    pub fn of_http2(parts: &Parts) -> Result<Self, BadHead> {
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str()).as_bytes();
        let is_form = target.starts_with(b"/")
            || (target == b"*" && parts.method == Method::OPTIONS)
            // Any target will do: CONNECT is refused later, with its own error.
            || parts.method == Method::CONNECT;
        let is_http = parts.uri.scheme_str().is_none_or(|scheme| matches!(scheme, "http" | "https"));
        if !is_http || !is_form || !target.iter().all(|byte| is_target_byte(*byte)) {
            return Err(BadHead::Target);
        }
        let mut fields = Fields::from(&parts.headers);
        if !fields.iter().all(|(name, _)| is_token(name)) {
            return Err(BadHead::Line);
        }
        let lengths: Vec<_> = fields.values("Content-Length").collect();
        if !matches!(lengths[..], [] | [_]) || lengths.iter().any(|value| length(value).is_none()) {
            return Err(BadHead::Length);
        }
        let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
        let named: Vec<_> = fields.values("Host").collect();
        let host = authority.or(named.first().copied()).ok_or(BadHead::Host)?.to_vec();
        if !is_host(&host) || named.len() > 1 || named.iter().any(|other| !other.eq_ignore_ascii_case(&host))
        {
            return Err(BadHead::Host);
        }
        fields.set("Host", host);
        Ok(Self::new(parts.method.clone(), target.to_vec(), Version::HTTP_2, fields))
    }

    /// What is known of an HTTP/2 head that [`Self::of_http2`] rejected, for the reply and the log.
    pub fn refused_http2(parts: &Parts) -> Self {
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
        let mut fields = Fields::default();
        // It decides the format of the reply: gRPC or JSON.
        if let Some(content_type) = parts.headers.get(http::header::CONTENT_TYPE) {
            fields.append("Content-Type", content_type);
        }
        Self::new(parts.method.clone(), target.as_bytes().to_vec(), Version::HTTP_2, fields)
    }

    /// A copy for the next hop, in HTTP/1.1, with the fields for whose name `is_kept` returns true.
    pub fn forwarded(&self, mut is_kept: impl FnMut(&[u8]) -> bool) -> Self {
        let mut fields = Fields::with_capacity(BYTES, FIELDS);
        self.fields
            .iter()
            .filter(|(name, _)| is_kept(name))
            .for_each(|(name, value)| fields.append(name, value));
        Self::new(self.method.clone(), self.target.clone(), Version::HTTP_11, fields)
    }

    /// The target, in origin form or asterisk form.
    pub fn target(&self) -> &[u8] {
        &self.target
    }

    /// The target without the query. Invalid UTF-8 is replaced by U+FFFD.
    pub fn path(&self) -> Cow<'_, str> {
        let end = self.target.iter().position(|byte| *byte == b'?').unwrap_or(self.target.len());
        String::from_utf8_lossy(&self.target[..end])
    }

    /// The value of `Host` (RFC 9110, 7.2). `None`: an HTTP/1.0 request without it.
    pub fn host(&self) -> Option<&str> {
        std::str::from_utf8(self.fields.value("Host")?).ok()
    }

    /// A decoder for the body, as received over HTTP/1.1.
    pub fn body(&self) -> BodyDecoder {
        BodyDecoder::of_request(&self.fields)
    }

    /// The head in the format of HTTP/1.1. `None`: the target contains bytes that are not allowed there.
    pub fn to_wire(&self) -> Option<Vec<u8>> {
        if !self.target.iter().all(|byte| is_target_byte(*byte)) {
            return None;
        }
        let mut wire = Vec::with_capacity(BYTES);
        for piece in [self.method.as_str().as_bytes(), b" ", &self.target, b" HTTP/1.1\r\n"] {
            wire.extend_from_slice(piece);
        }
        self.fields.write_to(&mut wire);
        Some(wire)
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a panic fails the test")]
mod tests {
    use super::*;

    fn head() -> RequestHead {
        let mut fields = Fields::default();
        for (name, value) in [("hOST", "a.example"), ("Cookie", "a=1"), ("X-Empty", ""), ("cookie", "b=2")] {
            fields.append(name, value);
        }
        RequestHead::new(Method::POST, b"/v1?a=b".to_vec(), Version::HTTP_11, fields)
    }

    fn http2(uri: &str, fields: &[(&str, &str)]) -> Result<RequestHead, BadHead> {
        let mut request = http::Request::get(uri).version(Version::HTTP_2);
        for (name, value) in fields {
            // The same check as in h2, which accepts more than HTTP/1.1 does.
            let name = http::HeaderName::from_lowercase(name.as_bytes()).expect("a name to h2");
            request = request.header(name, *value);
        }
        RequestHead::of_http2(&request.body(()).expect("a request").into_parts().0)
    }

    #[test]
    fn names_keep_their_case() {
        let wire =
            b"POST /v1?a=b HTTP/1.1\r\nhOST: a.example\r\nCookie: a=1\r\nX-Empty: \r\ncookie: b=2\r\n\r\n";
        assert_eq!(head().to_wire().expect("a head"), wire);
        assert_eq!((head().path().as_ref(), head().host()), ("/v1", Some("a.example")));
    }

    #[test]
    fn a_target_that_would_break_the_request_line_is_not_written() {
        for target in [&b"/a b"[..], b"/\r\nX: y", b"/\0"] {
            let head = RequestHead { target: target.to_vec(), ..head() };
            assert_eq!(head.to_wire(), None);
        }
    }

    #[test]
    fn only_kept_fields_are_forwarded() {
        let forwarded = head().forwarded(|name| !name.eq_ignore_ascii_case(b"COOKIE"));
        assert_eq!(
            forwarded.to_wire().expect("a head"),
            b"POST /v1?a=b HTTP/1.1\r\nhOST: a.example\r\nX-Empty: \r\n\r\n"
        );
    }

    #[test]
    fn an_http2_head_must_be_valid_in_http1() {
        let head = http2("http://test/a?b", &[("cookie", "c=d")]).expect("a head");
        assert_eq!((head.target(), head.host()), (&b"/a?b"[..], Some("test")));
        assert!(http2("http://test/", &[("host", "TEST")]).is_ok());
        for (fields, why) in [
            (&[("\"x\"", "y")][..], BadHead::Line),
            (&[("content-length", "5"), ("content-length", "5")], BadHead::Length),
            (&[("content-length", "+5")], BadHead::Length),
            (&[("host", "other")], BadHead::Host),
            (&[("host", "test"), ("host", "test")], BadHead::Host),
        ] {
            assert_eq!(http2("http://test/", fields).map(drop), Err(why), "{fields:?}");
        }
        assert_eq!(http2("/", &[]).map(drop), Err(BadHead::Host));
        assert_eq!(http2("ftp://test/", &[]).map(drop), Err(BadHead::Target));
    }
}
