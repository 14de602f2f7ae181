//! Whether the head of an HTTP/1.1 request can be read in one way only.
//!
//! pingora's parser forgives what others read differently, and what is forgiven here could be a second request to a proxy in
//! front or a server behind. So the bytes are looked at once more, and whatever is not beyond doubt is refused.

use std::str;

use http::uri::Authority;
use http::{Method, header};
use pingora::http::RequestHeader;

use super::hygiene;

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// A line that is none of HTTP's (RFC 9112, 2.2, 3 and 5): control characters, folds, bare CR or LF, no colon.
    Line,
    /// A target that is neither a path, nor an absolute `http` URI, nor the `*` of OPTIONS (RFC 9112, 3.2).
    Target,
    /// Not exactly one `Host`, or one that is no host (RFC 9112, 3.2).
    Host,
    /// A body whose end is in doubt: several lengths, a length that is no number, or a length and a coding (RFC 9112, 6.3).
    Length,
    /// A coding that is not `chunked` (RFC 9112, 6.1).
    Coding,
}

/// Looks at a whole head, as it was received.
pub fn check(mut head: &[u8]) -> Result<(), Doubt> {
    // RFC 9112, 2.2: empty lines before a request are ignored.
    while let Some(rest) = head.strip_prefix(b"\r\n") {
        head = rest;
    }
    let mut lines = Lines(head);
    let is_http10 = check_request_line(lines.next().ok_or(Doubt::Line)??)?;
    let mut seen = Seen::default();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        seen.field(line)?;
    }
    seen.check(is_http10)
}

/// Looks at a head of HTTP/2, whose frames leave less in doubt: what becomes a head of HTTP/1.1 must be one.
pub fn check_http2(request: &RequestHeader) -> Result<(), Doubt> {
    let is_form = request.raw_path().starts_with(b"/")
        || (request.raw_path() == b"*" && request.method == Method::OPTIONS)
        // Refused by pingora.
        || request.method == Method::CONNECT;
    if !is_form {
        return Err(Doubt::Target);
    }
    if request.headers.get_all(header::CONTENT_LENGTH).iter().count() > 1 {
        return Err(Doubt::Length);
    }
    hygiene::host(request).filter(|host| is_host(host)).map(drop).ok_or(Doubt::Host)
}

/// Whether this can be the host that a request is for (RFC 9110, 7.2): a name or an address, and a port.
pub fn is_host(value: &str) -> bool {
    let (name, port) = value.split_once(':').unwrap_or((value, ""));
    let is_simple = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if !name.is_empty() && name.bytes().all(is_simple) && is_port(port) {
        // Nearly all of them: no parser of whole authorities has to look at it.
        return true;
    }
    let Ok(authority) = value.parse::<Authority>() else { return value.is_empty() };
    let (host, after) = value.split_at(authority.host().len());
    let port = after.strip_prefix(':').unwrap_or(after);
    let is_name = host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(&b));
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    is_port(port) && authority.host() == host && !host.is_empty() && (is_name || is_bracketed)
}

/// Whether this is what may follow the colon; that may be nothing.
fn is_port(port: &str) -> bool {
    port.is_empty() || port.parse::<u16>().is_ok_and(|_| port.bytes().all(|b| b.is_ascii_digit()))
}

/// The lines of a head, which end in CRLF and in nothing else.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = Result<&'a [u8], Doubt>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let Some(lf) = memchr::memchr(b'\n', self.0) else { return Some(Err(Doubt::Line)) };
        let (line, rest) = self.0.split_at(lf + 1);
        self.0 = rest;
        Some(line.strip_suffix(b"\r\n").ok_or(Doubt::Line))
    }
}

/// Returns whether it is HTTP/1.0.
fn check_request_line(line: &[u8]) -> Result<bool, Doubt> {
    let mut parts = line.split(|&byte| byte == b' ');
    let (method, target, version) = (parts.next(), parts.next(), parts.next());
    let (Some(method), Some(target), Some(version), None) = (method, target, version, parts.next()) else {
        return Err(Doubt::Line);
    };
    if !is_token(method) || !matches!(version, b"HTTP/1.1" | b"HTTP/1.0") {
        return Err(Doubt::Line);
    }
    let is_absolute = [&b"http://"[..], b"https://"]
        .iter()
        .any(|scheme| target.len() > scheme.len() && target[..scheme.len()].eq_ignore_ascii_case(scheme));
    let is_form = target.starts_with(b"/") || is_absolute || (target == b"*" && method == b"OPTIONS");
    // Bytes beyond ASCII are no URI, but what sloppy clients send and every server takes for itself.
    if !is_form || target.iter().any(|&byte| byte <= b' ' || byte == 0x7f) {
        return Err(Doubt::Target);
    }
    Ok(version == b"HTTP/1.0")
}

/// What of a head decides where it goes and where it ends.
#[derive(Default)]
struct Seen<'a> {
    hosts: u32,
    lengths: u32,
    codings: u32,
    host: &'a [u8],
    length: &'a [u8],
    coding: &'a [u8],
}

impl<'a> Seen<'a> {
    fn field(&mut self, line: &'a [u8]) -> Result<(), Doubt> {
        let colon = memchr::memchr(b':', line).ok_or(Doubt::Line)?;
        let (name, value) = (&line[..colon], trim_blanks(&line[colon + 1..]));
        // A fold begins with a blank, which is no token.
        if !is_token(name) || value.iter().any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
            return Err(Doubt::Line);
        }
        if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
            self.host = value;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            self.lengths += 1;
            self.length = value;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.codings += 1;
            self.coding = value;
        }
        Ok(())
    }

    fn check(&self, is_http10: bool) -> Result<(), Doubt> {
        let is_host = str::from_utf8(self.host).is_ok_and(is_host);
        if self.hosts > 1 || (self.hosts == 0 && !is_http10) || !(self.hosts == 0 || is_host) {
            return Err(Doubt::Host);
        }
        let is_number = self.length.iter().all(u8::is_ascii_digit)
            && str::from_utf8(self.length).is_ok_and(|length| length.parse::<u64>().is_ok());
        if self.lengths > 1 || (self.lengths == 1 && !is_number) || (self.lengths > 0 && self.codings > 0) {
            return Err(Doubt::Length);
        }
        // HTTP/1.0 knows no codings (RFC 9112, 6.1).
        if self.codings > 0
            && (self.codings > 1 || is_http10 || !self.coding.eq_ignore_ascii_case(b"chunked"))
        {
            return Err(Doubt::Coding);
        }
        Ok(())
    }
}

/// RFC 9110, 5.6.3: blanks are spaces and tabs, and nothing else that Rust would trim.
fn trim_blanks(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_blank(byte)).map_or(start, |at| at + 1);
    &value[start..end]
}

/// RFC 9110, 5.6.2.
fn is_token(name: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(is_tchar)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &str) -> Result<(), Doubt> {
        check(format!("GET / HTTP/1.1\r\nHost: test\r\n{lines}\r\n").as_bytes())
    }

    #[test]
    fn what_clients_send_passes() {
        assert_eq!(head(""), Ok(()));
        assert_eq!(head("Content-Length: 5\r\nX:\r\nY: a\tb \u{e9}\r\n"), Ok(()));
        assert_eq!(head("Transfer-Encoding: Chunked\r\n"), Ok(()));
        assert_eq!(check(b"\r\nGET / HTTP/1.0\r\n\r\n"), Ok(()));
        assert_eq!(check(b"OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"), Ok(()));
        assert_eq!(check(b"GET HTTP://test/ HTTP/1.1\r\nHost: test\r\n\r\n"), Ok(()));
    }

    #[test]
    fn what_is_in_doubt_does_not() {
        assert_eq!(head("X: a\r\n b\r\n"), Err(Doubt::Line));
        assert_eq!(head("X: a\rb\r\n"), Err(Doubt::Line));
        assert_eq!(head("Content-Length: 5\r\r\n"), Err(Doubt::Line));
        assert_eq!(head("X: a\n"), Err(Doubt::Line));
        assert_eq!(head("Content-Length: 5\r\nContent-Length: 5\r\n"), Err(Doubt::Length));
        assert_eq!(head("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), Err(Doubt::Length));
        assert_eq!(head("Content-Length: 18446744073709551616\r\n"), Err(Doubt::Length));
        assert_eq!(head("Content-Length:\r\n"), Err(Doubt::Length));
        assert_eq!(head("Transfer-Encoding: gzip, chunked\r\n"), Err(Doubt::Coding));
        assert_eq!(head("Host: test\r\n"), Err(Doubt::Host));
        assert_eq!(check(b"GET / HTTP/1.1\r\n\r\n"), Err(Doubt::Host));
        assert_eq!(check(b"GET a HTTP/1.1\r\nHost: test\r\n\r\n"), Err(Doubt::Target));
    }

    #[test]
    fn hosts_are_names_or_addresses_with_a_port() {
        for host in ["test", "a.b-c_d:80", "127.0.0.1:8080", "[::1]", "[::1]:80", "", "test:"] {
            assert!(is_host(host), "{host}");
        }
        for host in
            ["a b", "a/b", "a,b", "u@a", "a:b", "a:80:80", "::1", "[::1", "a:99999", "a\\b", "a:+1", ":80"]
        {
            assert!(!is_host(host), "{host}");
        }
    }
}
