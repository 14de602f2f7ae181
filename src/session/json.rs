//! Parses the JSON in events.

use super::json_value::Json;

/// Parses a JSON text. Incomplete characters are replaced by U+FFFD: a backend may split a character between two tokens.
/// `None`: it is not valid JSON.
pub fn read(text: &[u8]) -> Option<Json<'_>> {
    serde_json::from_slice(text).ok().or_else(|| read_whole(&whole_characters(text)))
}

fn read_whole(text: &[u8]) -> Option<Json<'static>> {
    serde_json::from_slice(text).ok().map(Json::into_owned)
}

/// Whether the first character can begin a JSON text (RFC 8259, 2 and 3).
pub fn may_be(text: &[u8]) -> bool {
    let first = text.iter().find(|byte| !b" \t\n\r".contains(byte));
    matches!(first, Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'))
}

/// Replaces incomplete characters by U+FFFD: invalid UTF-8, and unpaired surrogates in escapes (RFC 8259, 8.2).
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
            // Copy two bytes, so that the second backslash of `\\` does not begin an escape.
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

/// Which half of a surrogate pair an escape is, if it is one.
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
    fn incomplete_characters_are_replaced_and_invalid_json_is_rejected() {
        for (text, said) in [
            (&br#"{"a":"x\ud83e"}"#[..], "x\u{fffd}"),
            (br#"{"a":"\udd80x"}"#, "\u{fffd}x"),
            (br#"{"a":"\u00e9\ud83e"}"#, "\u{e9}\u{fffd}"),
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
