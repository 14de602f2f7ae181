//! Parses the head of a request incrementally, line by line (RFC 9112, 2.2, 3 and 5).

use http::{Method, Version};

use super::fields::Field;
use super::validate::{
    field, is_host, is_one_of, is_same_host, is_target_byte, is_tchar, is_token, length, list,
};
use super::{Fields, RequestHead};

/// The most fields in a head.
const MAX_FIELDS: usize = 256;

/// The first byte of a TLS handshake record (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Why the head of a request is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHead {
    /// The client speaks TLS.
    Tls,
    /// A line has a control character, a fold, a bare CR or LF, or no colon (RFC 9112, 2.2, 3 and 5).
    Line,
    /// The target is neither a path, nor an absolute `http` or `https` URI, nor the `*` of OPTIONS (RFC 9112, 3.2).
    Target,
    /// There is not exactly one `Host`, or it is invalid, or it differs from the host in the target (RFC 9112, 3.2).
    Host,
    /// The length of the body is ambiguous: several lengths, an invalid one, or a length and a transfer coding
    /// (RFC 9112, 6.3).
    Length,
    /// The transfer coding is not `chunked` (RFC 9112, 6.1).
    Coding,
    /// `Connection` lists a field that routes or frames the message and so must reach all recipients (RFC 9110, 7.6.1).
    Connection,
    /// The request line alone is larger than the limit for the whole head.
    LineTooLong,
    /// The head has too many bytes or fields.
    TooLarge,
    /// The head was not complete in time.
    TimedOut,
}

/// Parses one head. Keeps positions in the input, not bytes.
#[derive(Debug, Default)]
pub struct RequestParser {
    /// Where the next line begins.
    line: usize,
    /// The length of the prefix that has been searched for line ends. No byte is searched twice.
    searched: usize,
    /// Method and target, as name and value. Empty until the request line is complete.
    request_line: [Field; 1],
    is_http10: bool,
    fields: Vec<Field>,
}

impl RequestParser {
    /// Parses the new lines in `input`, which holds everything received since the beginning of the head. Returns the
    /// length of the head once it is complete. `max_size`: the most bytes of a head.
    ///
    /// # Errors
    ///
    /// [`BadHead`] as soon as the head cannot become valid, even if it is not complete yet.
    pub fn advance(&mut self, input: &[u8], max_size: usize) -> Result<Option<usize>, BadHead> {
        let within = &input[..input.len().min(max_size)];
        while let Some(lf) = memchr::memchr(b'\n', &within[self.searched..]) {
            let (start, end) = (self.line, self.searched + lf);
            (self.line, self.searched) = (end + 1, end + 1);
            let line = within[start..end].strip_suffix(b"\r").ok_or(BadHead::Line)?;
            match (line.is_empty(), self.has_request_line()) {
                (true, true) => return self.check(input).map(|()| Some(end + 1)),
                // RFC 9112, 2.2: a server ignores empty lines before a request.
                (true, false) => {}
                (false, true) => self.field(start, line)?,
                (false, false) => self.request_line(start, line)?,
            }
        }
        self.searched = within.len();
        // Reject garbage at once instead of waiting for its line end.
        if !self.has_request_line() && within.get(self.line) == Some(&TLS_HANDSHAKE) {
            return Err(BadHead::Tls);
        }
        if !self.has_request_line() && within.get(self.line).is_some_and(|b| !is_tchar(*b) && *b != b'\r') {
            return Err(BadHead::Line);
        }
        match input.len() >= max_size {
            true if self.has_request_line() => Err(BadHead::TooLarge),
            true => Err(BadHead::LineTooLong),
            false => Ok(None),
        }
    }

    fn has_request_line(&self) -> bool {
        !self.request_line[0].name.is_empty()
    }

    fn request_line(&mut self, start: usize, line: &[u8]) -> Result<(), BadHead> {
        if line.first() == Some(&TLS_HANDSHAKE) {
            return Err(BadHead::Tls);
        }
        let first = memchr::memchr(b' ', line).ok_or(BadHead::Line)?;
        let last = memchr::memrchr(b' ', line).filter(|last| *last > first).ok_or(BadHead::Line)?;
        let (method, target, version) = (&line[..first], &line[first + 1..last], &line[last + 1..]);
        self.is_http10 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return Err(BadHead::Line),
        };
        if !is_token(method) {
            return Err(BadHead::Line);
        }
        let is_form = target.starts_with(b"/")
            || (target == b"*" && method == b"OPTIONS")
            // Any target will do: CONNECT is refused later, with its own error.
            || method == b"CONNECT"
            || Absolute::of(target).is_some();
        if !is_form || !target.iter().all(|byte| is_target_byte(*byte)) {
            return Err(BadHead::Target);
        }
        self.request_line = [Field::at(start, 0..first, first + 1..last)];
        Ok(())
    }

    fn field(&mut self, start: usize, line: &[u8]) -> Result<(), BadHead> {
        let (name, value) = field(line).ok_or(BadHead::Line)?;
        if self.fields.len() == MAX_FIELDS {
            return Err(BadHead::TooLarge);
        }
        self.fields.push(Field::at(start, name, value));
        Ok(())
    }

    /// Checks the fields that route and frame the request.
    fn check(&self, head: &[u8]) -> Result<(), BadHead> {
        let (mut hosts, mut lengths, mut codings) = (None, None, None);
        for at in &self.fields {
            let (name, value) = (at.name(head), at.value(head));
            let (seen, refusal) = match name.len() {
                4 if name.eq_ignore_ascii_case(b"host") => (&mut hosts, BadHead::Host),
                14 if name.eq_ignore_ascii_case(b"content-length") => (&mut lengths, BadHead::Length),
                17 if name.eq_ignore_ascii_case(b"transfer-encoding") => (&mut codings, BadHead::Coding),
                10 if name.eq_ignore_ascii_case(b"connection") => {
                    check_connection(value)?;
                    continue;
                }
                _ => continue,
            };
            if seen.replace(value).is_some() {
                return Err(refusal);
            }
        }
        self.check_host(head, hosts)?;
        if lengths.is_some_and(|value| length(value).is_none()) || (lengths.is_some() && codings.is_some()) {
            return Err(BadHead::Length);
        }
        // HTTP/1.0 has no transfer codings (RFC 9112, 6.1).
        if codings.is_some_and(|coding| self.is_http10 || !coding.eq_ignore_ascii_case(b"chunked")) {
            return Err(BadHead::Coding);
        }
        Ok(())
    }

    fn check_host(&self, head: &[u8], host: Option<&[u8]>) -> Result<(), BadHead> {
        let target = Absolute::of(self.request_line[0].value(head));
        let is_right = match (host, target) {
            (None, _) => self.is_http10,
            (Some(host), None) => is_host(host),
            // A proxy uses the host in the target (RFC 9112, 3.2.2), a server behind might use `Host`: they must agree.
            (Some(host), Some(target)) => is_same_host(host, target.authority, target.default_port),
        };
        if is_right { Ok(()) } else { Err(BadHead::Host) }
    }

    /// The head as far as it was parsed. `None`: there is no valid request line. `input` is that of [`Self::advance`].
    pub fn head(&self, input: &[u8]) -> Option<RequestHead> {
        let line = self.request_line[0];
        let method = Method::from_bytes(line.name(input)).ok()?;
        let version = if self.is_http10 { Version::HTTP_10 } else { Version::HTTP_11 };
        let end = self.fields.last().map_or(0, Field::end);
        let mut fields = Fields::at(&input[..end], &self.fields);
        let target = line.value(input);
        let target = match Absolute::of(target) {
            Some(absolute) => {
                fields.set("Host", absolute.authority);
                absolute.origin_form(&method)
            }
            None => target.to_vec(),
        };
        Some(RequestHead::new(method, target, version, fields))
    }
}

/// Rejects options that would make hops remove the fields that route and frame the message.
fn check_connection(value: &[u8]) -> Result<(), BadHead> {
    const FOR_ALL: [&str; 3] = ["Host", "Content-Length", "Transfer-Encoding"];
    let is_for_all = list(std::iter::once(value)).any(|option| is_one_of(option, &FOR_ALL));
    if is_for_all { Err(BadHead::Connection) } else { Ok(()) }
}

/// A target in absolute form (RFC 9112, 3.2.2).
struct Absolute<'a> {
    authority: &'a [u8],
    default_port: &'static [u8],
    /// Path and query, unchanged.
    rest: &'a [u8],
}

impl<'a> Absolute<'a> {
    fn of(target: &'a [u8]) -> Option<Self> {
        const SCHEMES: [(&[u8], &[u8]); 2] = [(b"http://", b"80"), (b"https://", b"443")];
        let (after, default_port) = SCHEMES.iter().find_map(|(scheme, port)| {
            let (begin, after) = target.split_at_checked(scheme.len())?;
            begin.eq_ignore_ascii_case(scheme).then_some((after, *port))
        })?;
        let end = after.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(after.len());
        let (authority, rest) = after.split_at(end);
        (!authority.is_empty() && is_host(authority)).then_some(Self { authority, default_port, rest })
    }

    /// The target in origin form or asterisk form (RFC 9112, 3.2.1 and 3.2.4).
    fn origin_form(&self, method: &Method) -> Vec<u8> {
        match self.rest {
            [] if *method == Method::OPTIONS => b"*".to_vec(),
            [b'/', ..] => self.rest.to_vec(),
            rest => [b"/", rest].concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 1000;

    fn parse(head: impl AsRef<[u8]>) -> Result<Option<usize>, BadHead> {
        RequestParser::default().advance(head.as_ref(), MAX)
    }

    fn with(lines: &str) -> Result<(), BadHead> {
        parse(format!("GET / HTTP/1.1\r\nHost: test\r\n{lines}\r\n")).map(|whole| assert!(whole.is_some()))
    }

    fn target(line: &str, host: &str) -> Result<String, BadHead> {
        let input = format!("{line}\r\nHost: {host}\r\n\r\n");
        let mut parser = RequestParser::default();
        parser.advance(input.as_bytes(), MAX)?;
        let head = parser.head(input.as_bytes());
        Ok(head.map(|head| String::from_utf8_lossy(head.target()).into_owned()).unwrap_or_default())
    }

    #[test]
    fn valid_heads_are_accepted() {
        assert_eq!(with(""), Ok(()));
        assert_eq!(with("Content-Length: 5\r\nX:\r\nY: a\tb \u{e9}\r\n"), Ok(()));
        assert_eq!(with("Transfer-Encoding: Chunked\r\nConnection: keep-alive, TE\r\n"), Ok(()));
        assert_eq!(parse("\r\nGET / HTTP/1.0\r\n\r\n"), Ok(Some(20)));
        assert_eq!(
            parse("OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\nmore").map(|end| end.is_some()),
            Ok(true)
        );
    }

    #[test]
    fn ambiguous_heads_are_rejected() {
        for (lines, why) in [
            ("X: a\r\n b\r\n", BadHead::Line),
            ("X: a\rb\r\n", BadHead::Line),
            ("Content-Length: 5\r\r\n", BadHead::Line),
            ("X: a\n", BadHead::Line),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", BadHead::Length),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", BadHead::Length),
            ("Content-Length: 18446744073709551616\r\n", BadHead::Length),
            ("Content-Length:\r\n", BadHead::Length),
            ("Transfer-Encoding: gzip, chunked\r\n", BadHead::Coding),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", BadHead::Coding),
            ("Host: test\r\n", BadHead::Host),
            ("Connection: Upgrade, host\r\n", BadHead::Connection),
        ] {
            assert_eq!(with(lines), Err(why), "{lines:?}");
        }
        assert_eq!(parse("GET / HTTP/1.1\r\n\r\n"), Err(BadHead::Host));
        assert_eq!(parse("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), Err(BadHead::Coding));
        for line in [
            "GET a HTTP/1.1",
            "GET * HTTP/1.1",
            "GET /\u{1} HTTP/1.1",
            "GET /a b HTTP/1.1",
            "GET http://u@a/ HTTP/1.1",
            "GET /#a HTTP/1.1",
        ] {
            assert_eq!(parse(format!("{line}\r\nHost: a\r\n\r\n")), Err(BadHead::Target), "{line}");
        }
        for line in ["GET / HTTP/1.2", "GET /", "GET", "G(T / HTTP/1.1", " GET / HTTP/1.1", "GET / HTTP/1.1 "]
        {
            assert_eq!(parse(format!("{line}\r\nHost: a\r\n\r\n")), Err(BadHead::Line), "{line}");
        }
    }

    #[test]
    fn input_that_cannot_become_a_head_is_rejected_at_once() {
        assert_eq!(parse("\x16\x03\x01"), Err(BadHead::Tls));
        assert_eq!(parse("\0\x03\x01"), Err(BadHead::Line));
        assert_eq!(parse("x".repeat(MAX)), Err(BadHead::LineTooLong));
        assert_eq!(parse(format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(MAX))), Err(BadHead::TooLarge));
        let many = "X: y\r\n".repeat(MAX_FIELDS + 1);
        let head = format!("GET / HTTP/1.1\r\n{many}");
        assert_eq!(RequestParser::default().advance(head.as_bytes(), usize::MAX), Err(BadHead::TooLarge));
    }

    #[test]
    fn absolute_form_becomes_origin_form() {
        for (line, host, expected) in [
            ("GET HTTP://test/a?b HTTP/1.1", "test", "/a?b"),
            ("GET http://test:80 HTTP/1.1", "TEST", "/"),
            ("GET https://test?b HTTP/1.1", "test:443", "/?b"),
            ("OPTIONS http://test HTTP/1.1", "test", "*"),
            ("GET /http://other/ HTTP/1.1", "test", "/http://other/"),
        ] {
            assert_eq!(target(line, host).as_deref(), Ok(expected), "{line}");
        }
        assert_eq!(target("GET http://other/ HTTP/1.1", "test"), Err(BadHead::Host));
        assert_eq!(target("GET http://test:81/ HTTP/1.1", "test"), Err(BadHead::Host));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(
            noise in prop::collection::vec((0_usize..200, any::<u8>()), 0..3),
            pieces in prop::collection::vec(1_usize..20, 0..40),
        ) {
            let mut head = b"POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello".to_vec();
            for (at, byte) in noise {
                let at = at % head.len();
                head[at] = byte;
            }
            let whole = parse(&head);
            let (mut parser, mut end, mut result) = (RequestParser::default(), 0_usize, Ok(None));
            for piece in pieces.into_iter().chain(std::iter::repeat(usize::MAX)) {
                end = head.len().min(end.saturating_add(piece));
                result = parser.advance(&head[..end], MAX);
                if end == head.len() || !matches!(result, Ok(None)) {
                    break;
                }
            }
            prop_assert_eq!(result, whole);
        }
    }
}
