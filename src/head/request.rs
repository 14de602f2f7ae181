//! The head of a request as it goes upstream (RFC 9112, 3).

use http::{Method, Version};
use pingora::http::RequestHeader;

use super::Fields;
use super::fields::written;

/// Room that most heads fit in.
const BYTES: usize = 1000;
const FIELDS: usize = 24;

#[derive(Clone, Debug)]
pub struct RequestHead {
    pub method: Method,
    /// In origin form or asterisk form (RFC 9112, 3.2).
    target: Vec<u8>,
    pub fields: Fields,
}

impl RequestHead {
    pub fn new(method: Method, target: &[u8]) -> Self {
        Self { method, target: target.to_vec(), fields: Fields::with_capacity(BYTES, FIELDS) }
    }

    /// With the method and the fields of another one, except for those that `is_kept` does not want.
    pub fn of(request: &RequestHeader, target: &[u8], mut is_kept: impl FnMut(&[u8]) -> bool) -> Self {
        let mut head = Self::new(request.method.clone(), target);
        // The closure never fails, so the walk does not.
        let _ = request.map(|name, value| {
            let name = written(&name);
            if is_kept(name) {
                head.fields.append(name, value);
            }
            Ok(())
        });
        head
    }

    /// As it goes over HTTP/1.1; `None`: its target cannot be written there.
    pub fn to_wire(&self) -> Option<Vec<u8>> {
        if self.target.iter().any(|byte| matches!(byte, 0 | b'\n' | b'\r' | b' ')) {
            return None;
        }
        let mut wire = Vec::with_capacity(BYTES);
        for piece in [self.method.as_str().as_bytes(), b" ", &self.target, b" HTTP/1.1\r\n"] {
            wire.extend_from_slice(piece);
        }
        self.fields.write_to(&mut wire);
        Some(wire)
    }

    /// As pingora knows it, for what it sends itself.
    pub fn to_pingora(&self) -> pingora::Result<RequestHeader> {
        let mut request = RequestHeader::build(self.method.clone(), &self.target, Some(self.fields.len()))?;
        request.set_version(Version::HTTP_11);
        for (name, value) in self.fields.iter() {
            request.append_header(String::from_utf8_lossy(name).into_owned(), value)?;
        }
        Ok(request)
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    fn head() -> RequestHead {
        let mut head = RequestHead::new(Method::POST, b"/v1?a=b");
        head.fields.append("hOST", "a.example");
        head.fields.append("Cookie", "a=1");
        head.fields.append("X-Empty", "");
        head.fields.append("cookie", "b=2");
        head
    }

    #[test]
    fn names_go_out_as_written() {
        let wire =
            b"POST /v1?a=b HTTP/1.1\r\nhOST: a.example\r\nCookie: a=1\r\nX-Empty: \r\ncookie: b=2\r\n\r\n";
        assert_eq!(head().to_wire().expect("a head"), wire);
    }

    #[test]
    fn a_target_that_would_end_its_line_is_not_written() {
        for target in [&b"/a b"[..], b"/\r\nX: y", b"/\0"] {
            assert_eq!(RequestHead::new(Method::GET, target).to_wire(), None);
        }
    }

    #[test]
    fn pingora_is_told_the_same() {
        let request = head().to_pingora().expect("a head");
        assert_eq!((request.raw_path(), request.version), (&b"/v1?a=b"[..], Version::HTTP_11));
        let again = RequestHead::of(&request, request.raw_path(), |_| true);
        assert_eq!(again.fields.values("cookie").collect::<Vec<_>>(), [b"a=1", b"b=2"]);
        assert!(again.to_wire().expect("a head").windows(4).any(|bytes| bytes == b"hOST"));
    }
}
