//! Whether plain text is an event stream beyond doubt.
//!
//! Backends mislabel their streams, and much of what is plain text looks like one at first: a YAML file that begins with `data:`, a
//! log with lines of `event:`, a text that begins with a colon.

use super::boundary::without_bom;
use super::event::field;
use super::tail::is_whole_json;

/// Bytes of an event that are read to tell.
const ENOUGH: usize = 16 * 1024;

/// Whether the beginning of a body is an event stream's; `None` if these bytes are too few to tell.
///
/// It is one if a line of data is whole JSON or `[DONE]`, or if a whole event is there that has data; and it is none as soon as
/// one line is no field of an event (WHATWG HTML, 9.2.6).
pub fn begins_with_event(bytes: &[u8]) -> Option<bool> {
    let mut rest = without_bom(bytes);
    let mut has_data = false;
    while let Some(length) = memchr::memchr2(b'\n', b'\r', rest) {
        let (line, end) = rest.split_at(length);
        // Whether an LF follows a CR may not be known yet; it changes nothing.
        rest = end.strip_prefix(b"\r\n").unwrap_or(&end[1..]);
        match FirstLine::of(line) {
            FirstLine::Blank if has_data => return Some(true),
            FirstLine::Data(data) if data == b"[DONE]" || is_object(data) => return Some(true),
            FirstLine::Data(_) => has_data = true,
            FirstLine::Blank | FirstLine::Other => {}
            FirstLine::NoField => return Some(false),
        }
    }
    match FirstLine::may_become_field(rest) {
        true if bytes.len() < ENOUGH => None,
        _ => Some(false),
    }
}

fn is_object(data: &[u8]) -> bool {
    data.starts_with(b"{") && is_whole_json(data)
}

enum FirstLine<'a> {
    Blank,
    Data(&'a [u8]),
    /// Another field, or a comment.
    Other,
    NoField,
}

impl<'a> FirstLine<'a> {
    fn of(line: &'a [u8]) -> Self {
        match line {
            [] => Self::Blank,
            // Nobody writes a comment without a blank, and much else begins with a colon.
            [b':'] | [b':', b' ', ..] => Self::Other,
            _ => match (field(line, b"data"), field(line, b"retry")) {
                (Some(data), _) => Self::Data(data),
                (_, Some(time)) if !time.is_empty() && time.iter().all(u8::is_ascii_digit) => Self::Other,
                _ if field(line, b"event").or(field(line, b"id")).is_some_and(|_| line.contains(&b':')) => {
                    Self::Other
                }
                _ => Self::NoField,
            },
        }
    }

    /// Whether a line that is not whole yet may be a field when it is.
    fn may_become_field(line: &[u8]) -> bool {
        const BEGINNINGS: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b": "];
        BEGINNINGS.iter().any(|beginning| line.starts_with(beginning) || beginning.starts_with(line))
            || b"\xEF\xBB\xBF".starts_with(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_an_event_beyond_doubt_is_taken_for_one() {
        for (text, verdict) in [
            ("", None),
            ("da", None),
            ("data: hello\n", None),
            ("data: {\"a\":1", None),
            (": ping\n", None),
            ("\u{feff}da", None),
            ("data: {\"a\":1}\n", Some(true)),
            ("\u{feff}data:{}\r\n", Some(true)),
            ("data: [DONE]\n", Some(true)),
            ("data: hello\n\n", Some(true)),
            (": ping\n\nevent: x\nid: 1\ndata: a\r\n\r\n", Some(true)),
            ("retry: 50\ndata: a\n\n", Some(true)),
            (":tada: done", Some(false)),
            (":tada: done\ndata: {}\n", Some(false)),
            ("data:\n  key: value\n", Some(false)),
            ("data: x\nmore: y\n", Some(false)),
            ("event: login user=x\n2026 event: logout", Some(false)),
            ("retry: soon\n", Some(false)),
            ("{", Some(false)),
            ("dx", Some(false)),
        ] {
            assert_eq!(begins_with_event(text.as_bytes()), verdict, "{text:?}");
        }
        assert_eq!(begins_with_event(&b"\xEF\xBB\xBF"[..2]), None);
        assert_eq!(begins_with_event(&[b"data: ", &[b'x'; ENOUGH][..]].concat()), Some(false));
    }
}
