//! Reads the JSON of events.

use super::json_value::Json;

/// Reads a JSON text. Half of a character, as a backend writes it that cuts its answer between two tokens, is read as U+FFFD.
pub fn read(text: &[u8]) -> Option<Json<'_>> {
    serde_json::from_slice(text).ok().or_else(|| read_whole(&whole_characters(text)))
}

fn read_whole(text: &[u8]) -> Option<Json<'static>> {
    serde_json::from_slice(text).ok().map(Json::into_owned)
}

/// Whether this can be a JSON text at all, by its first character (RFC 8259, 2 and 3).
pub fn may_be(text: &[u8]) -> bool {
    let first = text.iter().find(|byte| !b" \t\n\r".contains(byte));
    matches!(first, Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'))
}

/// The same text with U+FFFD for what is no whole character: bytes that are no UTF-8, and halves of surrogate pairs in escapes
/// (RFC 8259, 8.2).
fn whole_characters(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let mut rest = text.as_bytes();
    let mut whole = Vec::with_capacity(rest.len());
    while let Some(at) = memchr::memchr(b'\\', rest) {
        whole.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let length = match (surrogate(rest), rest.get(6..).and_then(surrogate)) {
            (Some(Half::First), Some(Half::Second)) => 12,
            (Some(_), _) => {
                whole.extend_from_slice(b"\\ufffd");
                rest = &rest[6..];
                continue;
            }
            // An escape of two bytes, so that a backslash does not begin another one.
            (None, _) => rest.len().min(2),
        };
        whole.extend_from_slice(&rest[..length]);
        rest = &rest[length..];
    }
    whole.extend_from_slice(rest);
    whole
}

enum Half {
    First,
    Second,
}

/// Which half of a pair an escape is.
fn surrogate(escape: &[u8]) -> Option<Half> {
    let digits = escape.strip_prefix(b"\\u")?.get(..4)?;
    match u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()? {
        0xD800..=0xDBFF => Some(Half::First),
        0xDC00..=0xDFFF => Some(Half::Second),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_characters_are_read_and_what_is_no_json_is_not() {
        for (text, said) in [
            (&br#"{"a":"x\ud83e"}"#[..], "x\u{fffd}"),
            (br#"{"a":"\udd80x"}"#, "\u{fffd}x"),
            (br#"{"a":"\ud83e\ud83e\udd80"}"#, "\u{fffd}\u{1F980}"),
            (br#"{"a":"\\ud83e\ud83e"}"#, "\\ud83e\u{fffd}"),
            (b"{\"a\":\"\xf0\x9f\"}", "\u{fffd}"),
        ] {
            let read = read(text).unwrap_or(Json::Null);
            assert_eq!(read["a"], said, "{}", String::from_utf8_lossy(text));
        }
        for other in [&b"{\"a\":\"\\"[..], b"{\"a\":\"\\ud8", b"{'a': 1}", b""] {
            assert_eq!(read(other), None, "{}", String::from_utf8_lossy(other));
        }
    }
}
