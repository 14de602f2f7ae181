//! Decides whether a body that is labelled as plain text is an event stream.
//!
//! Some backends mislabel their streams. The check is strict, because other texts look similar at first: a YAML file that
//! begins with `data:`, a log with lines of `event:`, a text that begins with a colon.

use super::boundary::without_bom;
use super::event::field;
use super::tail::is_whole_json;

/// The most bytes that are examined.
const ENOUGH: usize = 16 * 1024;

/// Whether a body that begins with `bytes` is an event stream. `None`: there are too few bytes to decide.
///
/// It is one if a `data` line is a complete JSON object or `[DONE]`, or if there is a complete event with data. It is not
/// one if any line is not a field of an event or a comment (WHATWG HTML, 9.2.6).
pub fn begins_with_event(bytes: &[u8]) -> Option<bool> {
    let mut rest = without_bom(bytes);
    let mut has_data = false;
    while let Some(length) = memchr::memchr2(b'\n', b'\r', rest) {
        let (line, end) = rest.split_at(length);
        // A CR ends the line whether or not its LF has arrived.
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
    /// Neither a field of an event nor a comment.
    NoField,
}

impl<'a> FirstLine<'a> {
    fn of(line: &'a [u8]) -> Self {
        match line {
            [] => Self::Blank,
            // Backends write a space after the colon of a comment. Without it, this may be any other text.
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

    /// Whether this incomplete line may become a field or a comment.
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
    fn only_unmistakable_event_streams_are_recognized() {
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
