//! The grammar of the parts of a head (RFC 9110, 5 and 7; RFC 9112, 2 to 5).

use std::ops::Range;

use http::uri::Authority;

/// Whether each byte may occur in a token (RFC 9110, 5.6.2).
const TCHAR: [bool; 256] = {
    let (mut table, mut byte) = ([false; 256], 0);
    while byte < 256 {
        #[allow(clippy::cast_possible_truncation, reason = "it is below 256")]
        let is_alphanumeric = (byte as u8).is_ascii_alphanumeric();
        table[byte] = is_alphanumeric;
        byte += 1;
    }
    let (others, mut at) = (b"!#$%&'*+-.^_`|~", 0);
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
};

/// Whether a token may contain this byte (RFC 9110, 5.6.2).
pub fn is_tchar(byte: u8) -> bool {
    TCHAR[usize::from(byte)]
}

/// Whether this is a token, such as a method or a field name (RFC 9110, 5.6.2).
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_tchar(*byte))
}

/// Whether a field value may contain this byte (RFC 9110, 5.5): no control characters except the tab. Non-ASCII bytes
/// are allowed.
pub fn is_value_byte(byte: u8) -> bool {
    (byte >= b' ' && byte != 0x7f) || byte == b'\t'
}

/// The positions of a field's name and value in a line without its line end. `None`: it is not a field (RFC 9112, 5).
///
/// This also rejects line folds: they begin with white space, which cannot begin a name.
pub fn field(line: &[u8]) -> Option<(Range<usize>, Range<usize>)> {
    let colon = memchr::memchr(b':', line)?;
    let value = blanks_trimmed(line, colon + 1..line.len());
    let is_field = is_token(&line[..colon]) && line[value.clone()].iter().all(|byte| is_value_byte(*byte));
    is_field.then_some((0..colon, value))
}

/// Trims spaces and tabs only (RFC 9110, 5.6.3). The functions of the standard library trim more than that.
fn blanks_trimmed(line: &[u8], Range { mut start, mut end }: Range<usize>) -> Range<usize> {
    let is_blank = |byte: u8| matches!(byte, b' ' | b'\t');
    while start < end && is_blank(line[start]) {
        start += 1;
    }
    while start < end && is_blank(line[end - 1]) {
        end -= 1;
    }
    start..end
}

/// The elements of a list field, without the empty ones (RFC 9110, 5.6.1). Commas in quoted strings split too.
pub fn list<'a>(values: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    let elements = values.flat_map(|value| value.split(|byte| *byte == b','));
    let elements = elements.map(|element| &element[blanks_trimmed(element, 0..element.len())]);
    elements.filter(|element| !element.is_empty())
}

/// Whether `name` is one of `names`, in any case.
pub fn is_one_of(name: &[u8], names: &[&str]) -> bool {
    names.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
}

/// Parses a `Content-Length`: digits and nothing else (RFC 9110, 8.6). `None`: not a number, or larger than 64 bits.
pub fn length(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| is_number)?.parse().ok()
}

/// Whether a request target may contain this byte. A fragment is never sent (RFC 9112, 3.2). Non-ASCII bytes and some
/// others are not valid in a URI, but some clients send them and servers accept them.
pub fn is_target_byte(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f && byte != b'#'
}

/// Whether this is a valid `Host` (RFC 9110, 7.2): a name or an address with an optional port, or empty.
pub fn is_host(value: &[u8]) -> bool {
    let Ok(value) = std::str::from_utf8(value) else { return false };
    let (name, port) = value.split_once(':').unwrap_or((value, ""));
    let is_simple = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if !name.is_empty() && name.bytes().all(is_simple) && is_port(port) {
        // Fast path for nearly all hosts, without the parser for authorities.
        return true;
    }
    let Ok(authority) = value.parse::<Authority>() else { return value.is_empty() };
    let (host, after) = value.split_at(authority.host().len());
    let port = after.strip_prefix(':').unwrap_or(after);
    let is_name = host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(&b));
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    is_port(port) && authority.host() == host && !host.is_empty() && (is_name || is_bracketed)
}

/// Whether this may follow the colon of a host: a port, or nothing.
fn is_port(port: &str) -> bool {
    port.is_empty() || port.parse::<u16>().is_ok_and(|_| port.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether two hosts are equal, in any case. A missing port is the default port (RFC 9110, 4.2.3).
pub fn is_same_host(one: &[u8], other: &[u8], default_port: &[u8]) -> bool {
    let without_default = |host: &'_ [u8]| -> Vec<u8> {
        let host = host.strip_suffix(b":").unwrap_or(host);
        let bare = host.strip_suffix(default_port).and_then(|host| host.strip_suffix(b":"));
        bare.unwrap_or(host).to_ascii_lowercase()
    };
    without_default(one) == without_default(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_with_a_port() {
        for host in ["test", "a.b-c_d:80", "127.0.0.1:8080", "[::1]", "[::1]:80", "", "test:"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in
            ["a b", "a/b", "a,b", "u@a", "a:b", "a:80:80", "::1", "[::1", "a:99999", "a\\b", "a:+1", ":80"]
        {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
        assert!(!is_host(b"caf\xe9"));
    }

    #[test]
    fn a_missing_port_is_the_default_port() {
        for (one, other, is_same) in [
            ("Test", "test", true),
            ("test:80", "test", true),
            ("test:", "TEST:80", true),
            ("[::1]:80", "[::1]", true),
            ("test:8080", "test", false),
            ("test:80", "test:8080", false),
            ("other", "test", false),
        ] {
            assert_eq!(is_same_host(one.as_bytes(), other.as_bytes(), b"80"), is_same, "{one} {other}");
        }
    }

    #[test]
    fn a_field_is_a_token_a_colon_and_a_value() {
        let parts = |line: &'static [u8]| field(line).map(|(name, value)| (&line[name], &line[value]));
        assert_eq!(parts(b"X-A: \tb c\t "), Some((&b"X-A"[..], &b"b c"[..])));
        assert_eq!(parts(b"X:"), Some((&b"X"[..], &b""[..])));
        assert_eq!(parts(b"X:\xe9:"), Some((&b"X"[..], &b"\xe9:"[..])));
        for line in [&b"X"[..], b": y", b" X: y", b"X : y", b"X: a\x0bb", b"X: a\rb", b"\"x\": y", b"X: \x7f"]
        {
            assert_eq!(field(line), None, "{line:?}");
        }
    }
}
