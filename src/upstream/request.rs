//! The head of a request as it goes upstream (RFC 9112, 3 and 5). Sans-IO.
//!
//! Ours and not pingora's, whose two maps of fields take a third of all that a short stream costs: this one is a few fields in
//! a row, looked through by name, with all their bytes in one place.

use std::ops::Range;

use http::{Method, Version};
use pingora::http::{HeaderNameVariant, RequestHeader};

/// Room that most heads fit in.
const BYTES: usize = 1024;
const FIELDS: usize = 24;

/// Fields in their order, with names as they were written.
#[derive(Clone, Debug)]
pub struct RequestHead {
    pub method: Method,
    /// In origin form or asterisk form (RFC 9112, 3.2).
    target: Vec<u8>,
    bytes: Vec<u8>,
    fields: Vec<Field>,
}

/// Where in the bytes a field is.
#[derive(Clone, Debug)]
struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

impl RequestHead {
    pub fn new(method: Method, target: &[u8]) -> Self {
        Self {
            method,
            target: target.to_vec(),
            bytes: Vec::with_capacity(BYTES),
            fields: Vec::with_capacity(FIELDS),
        }
    }

    /// With the method, the target and the fields of another one, except for those that `is_kept` does not want.
    pub fn of(request: &RequestHeader, target: &[u8], mut is_kept: impl FnMut(&[u8]) -> bool) -> Self {
        let mut head = Self::new(request.method.clone(), target);
        // The closure never fails, so the map does not.
        let _ = request.map(|name, value| {
            let name = match name {
                HeaderNameVariant::Case(name) => name.as_slice(),
                HeaderNameVariant::Titled(name) => name.as_bytes(),
            };
            if is_kept(name) {
                head.append(name, value.as_bytes());
            }
            Ok(())
        });
        head
    }

    /// The values of all fields of this name.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.named(name).map(|field| &self.bytes[field.value.clone()])
    }

    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.values(name).next()
    }

    pub fn contains(&self, name: &str) -> bool {
        self.named(name).next().is_some()
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(move |field| self.is_named(field, name))
    }

    fn is_named(&self, field: &Field, name: &str) -> bool {
        self.bytes[field.name.clone()].eq_ignore_ascii_case(name.as_bytes())
    }

    /// Adds a field at the end. The name must be a token, and the value without line ends.
    pub fn append(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let name = self.keep(name.as_ref());
        let value = self.keep(value.as_ref());
        self.fields.push(Field { name, value });
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// Makes this the only field of its name.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.remove(name);
        self.append(name, value);
    }

    pub fn remove(&mut self, name: &str) {
        let Self { bytes, fields, .. } = self;
        fields.retain(|field| !bytes[field.name.clone()].eq_ignore_ascii_case(name.as_bytes()));
    }

    /// As it goes over HTTP/1.1; `None`: its target cannot be written there.
    pub fn to_wire(&self) -> Option<Vec<u8>> {
        if self.target.iter().any(|byte| matches!(byte, 0 | b'\n' | b'\r' | b' ')) {
            return None;
        }
        let mut wire = Vec::with_capacity(self.bytes.len() + self.target.len() + 4 * self.fields.len() + 32);
        for piece in [self.method.as_str().as_bytes(), b" ", &self.target, b" HTTP/1.1\r\n"] {
            wire.extend_from_slice(piece);
        }
        for Field { name, value } in &self.fields {
            for piece in [&self.bytes[name.clone()], b": ", &self.bytes[value.clone()], b"\r\n"] {
                wire.extend_from_slice(piece);
            }
        }
        wire.extend_from_slice(b"\r\n");
        Some(wire)
    }

    /// As pingora knows it, for what it sends itself.
    pub fn to_pingora(&self) -> pingora::Result<RequestHeader> {
        let mut request = RequestHeader::build(self.method.clone(), &self.target, Some(self.fields.len()))?;
        request.set_version(Version::HTTP_11);
        for Field { name, value } in &self.fields {
            let name = String::from_utf8_lossy(&self.bytes[name.clone()]).into_owned();
            request.append_header(name, &self.bytes[value.clone()])?;
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
        head.append("hOST", "a.example");
        head.append("Cookie", "a=1");
        head.append("X-Empty", "");
        head.append("cookie", "b=2");
        head
    }

    #[test]
    fn names_go_out_as_written_and_are_found_in_any_case() {
        let head = head();
        let wire =
            b"POST /v1?a=b HTTP/1.1\r\nhOST: a.example\r\nCookie: a=1\r\nX-Empty: \r\ncookie: b=2\r\n\r\n";
        assert_eq!(head.to_wire().expect("a head"), wire);
        assert_eq!(head.values("COOKIE").collect::<Vec<_>>(), [b"a=1", b"b=2"]);
        assert_eq!((head.value("host"), head.value("hos")), (Some(&b"a.example"[..]), None));
        assert!(head.contains("x-empty"));
    }

    #[test]
    fn a_field_that_is_set_is_the_only_one_of_its_name() {
        let mut head = head();
        head.set("COOKIE", "c=3");
        assert_eq!(head.values("cookie").collect::<Vec<_>>(), [b"c=3"]);
        head.remove("Cookie");
        assert!(!head.contains("cookie") && head.contains("host"));
    }

    #[test]
    fn a_target_that_would_end_its_line_is_not_written() {
        for target in [&b"/a b"[..], b"/\r\nX: y", b"/\0"] {
            assert_eq!(RequestHead::new(Method::GET, target).to_wire(), None);
        }
    }

    #[test]
    fn pingora_is_told_the_same() {
        let head = head();
        let request = head.to_pingora().expect("a head");
        assert_eq!((request.raw_path(), request.version), (&b"/v1?a=b"[..], Version::HTTP_11));
        let again = RequestHead::of(&request, request.raw_path(), |_| true);
        assert_eq!(again.values("cookie").collect::<Vec<_>>(), [b"a=1", b"b=2"]);
        assert!(again.to_wire().expect("a head").windows(4).any(|bytes| bytes == b"hOST"));
    }
}
