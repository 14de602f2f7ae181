//! The head of a request: as it came from a client, and as it goes upstream (RFC 9112, 3).

use std::borrow::Cow;

use http::request::Parts;
use http::{Method, Version};

use super::validate::{is_host, is_target_byte, is_token, length};
use super::{BadHead, BodyDecoder, Fields};

/// Room that most heads fit in, with what is added on the way upstream.
const BYTES: usize = 1000;
const FIELDS: usize = 24;

/// A head that is beyond doubt: at most one `Host`, and one way to tell where the body ends.
#[derive(Clone, Debug)]
pub struct RequestHead {
    pub method: Method,
    /// In origin form or asterisk form (RFC 9112, 3.2).
    target: Vec<u8>,
    /// What the client speaks.
    pub version: Version,
    pub fields: Fields,
}

/// For a request whose head is none.
impl Default for RequestHead {
    fn default() -> Self {
        Self::new(Method::default(), Vec::new(), Version::HTTP_11, Fields::default())
    }
}

impl RequestHead {
    pub(super) fn new(method: Method, target: Vec<u8>, version: Version, fields: Fields) -> Self {
        Self { method, target, version, fields }
    }

    /// A request of our own for this path.
    pub fn get(path: &str) -> Self {
        Self::new(Method::GET, path.as_bytes().to_vec(), Version::HTTP_11, Fields::default())
    }

    /// A head of HTTP/2, whose frames leave less in doubt: what becomes a head of HTTP/1.1 must be one (RFC 9113, 8.2 and 8.3).
    pub fn of_http2(parts: &Parts) -> Result<Self, BadHead> {
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str()).as_bytes();
        let is_form = target.starts_with(b"/")
            || (target == b"*" && parts.method == Method::OPTIONS)
            // Answered by itself.
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

    /// What is known of a head of HTTP/2 that is refused.
    pub fn refused_http2(parts: &Parts) -> Self {
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
        let mut fields = Fields::default();
        // It decides the form of the answer.
        if let Some(content_type) = parts.headers.get(http::header::CONTENT_TYPE) {
            fields.append("Content-Type", content_type);
        }
        Self::new(parts.method.clone(), target.as_bytes().to_vec(), Version::HTTP_2, fields)
    }

    /// The same for the next hop, in HTTP/1.1, with those of its fields that `is_kept` wants.
    pub fn forwarded(&self, mut is_kept: impl FnMut(&[u8]) -> bool) -> Self {
        let mut fields = Fields::with_capacity(BYTES, FIELDS);
        self.fields
            .iter()
            .filter(|(name, _)| is_kept(name))
            .for_each(|(name, value)| fields.append(name, value));
        Self::new(self.method.clone(), self.target.clone(), Version::HTTP_11, fields)
    }

    pub fn target(&self) -> &[u8] {
        &self.target
    }

    /// The target without its query.
    pub fn path(&self) -> Cow<'_, str> {
        let end = self.target.iter().position(|byte| *byte == b'?').unwrap_or(self.target.len());
        String::from_utf8_lossy(&self.target[..end])
    }

    /// What the request is for (RFC 9110, 7.2); an HTTP/1.0 client may not say it.
    pub fn host(&self) -> Option<&str> {
        std::str::from_utf8(self.fields.value("Host")?).ok()
    }

    /// Where the body ends, over HTTP/1.1.
    pub fn body(&self) -> BodyDecoder {
        BodyDecoder::of_request(&self.fields)
    }

    /// As it goes over HTTP/1.1; `None`: its target cannot be written there.
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
#[allow(clippy::expect_used, reason = "a test that cannot go on has failed")]
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
            // As h2 reads them.
            let name = http::HeaderName::from_lowercase(name.as_bytes()).expect("a name to h2");
            request = request.header(name, *value);
        }
        RequestHead::of_http2(&request.body(()).expect("a request").into_parts().0)
    }

    #[test]
    fn names_go_out_as_written() {
        let wire =
            b"POST /v1?a=b HTTP/1.1\r\nhOST: a.example\r\nCookie: a=1\r\nX-Empty: \r\ncookie: b=2\r\n\r\n";
        assert_eq!(head().to_wire().expect("a head"), wire);
        assert_eq!((head().path().as_ref(), head().host()), ("/v1", Some("a.example")));
    }

    #[test]
    fn a_target_that_would_end_its_line_is_not_written() {
        for target in [&b"/a b"[..], b"/\r\nX: y", b"/\0"] {
            let head = RequestHead { target: target.to_vec(), ..head() };
            assert_eq!(head.to_wire(), None);
        }
    }

    #[test]
    fn what_is_forwarded_has_the_fields_that_are_wanted() {
        let forwarded = head().forwarded(|name| !name.eq_ignore_ascii_case(b"COOKIE"));
        assert_eq!(
            forwarded.to_wire().expect("a head"),
            b"POST /v1?a=b HTTP/1.1\r\nhOST: a.example\r\nX-Empty: \r\n\r\n"
        );
    }

    #[test]
    fn a_head_of_http2_is_one_of_http1_or_refused() {
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
