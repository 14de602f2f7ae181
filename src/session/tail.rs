//! What a clean end of the body leaves of a stream: an event that only lacks its line ends, part of one, or nothing.

use serde::de::IgnoredAny;

use super::event::{self, Event};

/// What is left behind the last boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing that a client waits for: comments, an id, a reconnection time.
    Nothing,
    /// An event whose data is whole, and that so many line ends complete.
    Event { missing_line_ends: usize },
    /// An event that is not whole.
    Incomplete,
}

impl Tail {
    /// Judges the block of lines that is open; `is_whole` knows whole data whose line did not end.
    pub fn of_events(block: &[u8], is_whole: impl Fn(&[u8]) -> bool) -> Self {
        let end = memchr::memrchr2(b'\n', b'\r', block).map_or(0, |at| at + 1);
        let (lines, unfinished) = block.split_at(end);
        let (mut has_name, mut has_data) = (false, false);
        for line in event::lines(lines) {
            has_name |= event::field(line, b"event").is_some();
            has_data |= event::field(line, b"data").is_some();
        }
        let is_data = event::field(unfinished, b"data").is_some_and(|_| unfinished.contains(&b':'));
        match unfinished.first() {
            None if has_data => Self::Event { missing_line_ends: 1 },
            Some(b':') if has_data => Self::Event { missing_line_ends: 2 },
            Some(_) if is_data && Event::parse(block).is_some_and(|event| is_whole(&event.data)) => {
                Self::Event { missing_line_ends: 2 }
            }
            None | Some(b':') if !has_name => Self::Nothing,
            // No client makes anything of another line, such as JSON that is no event at all.
            Some(_) if !has_name && !has_data && !begins_event(unfinished) => Self::Nothing,
            _ => Self::Incomplete,
        }
    }

    /// Judges the line that is open in a stream of JSON texts.
    pub fn of_lines(line: &[u8]) -> Self {
        let ends_text = line.trim_ascii_start().first().is_some_and(|first| matches!(first, b'}' | b']'));
        // Texts may stand side by side, or be separated by CRs.
        let are_whole =
            serde_json::Deserializer::from_slice(line).into_iter::<IgnoredAny>().all(|text| text.is_ok());
        match line.trim_ascii().is_empty() {
            true => Self::Nothing,
            false if are_whole => Self::Event { missing_line_ends: 1 },
            // The end of a text that stands on several lines.
            false if ends_text => Self::Nothing,
            false => Self::Incomplete,
        }
    }
}

/// Whether an unfinished line is the beginning of a field that makes an event.
fn begins_event(line: &[u8]) -> bool {
    [&b"data"[..], b"event"].iter().any(|name| name.starts_with(line) || line.starts_with(name))
}

/// Whether data is a whole JSON text beyond doubt: of a number, more digits could have followed.
pub fn is_whole_json(data: &[u8]) -> bool {
    let is_number = data.trim_ascii_start().first().is_some_and(|first| matches!(first, b'-' | b'0'..=b'9'));
    !is_number && serde_json::from_slice::<IgnoredAny>(data).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_whole_is_told_from_what_is_not() {
        const EVENT: Tail = Tail::Event { missing_line_ends: 1 };
        const LINE: Tail = Tail::Event { missing_line_ends: 2 };
        for (block, tail) in [
            ("", Tail::Nothing),
            (": c", Tail::Nothing),
            (": c\n: d", Tail::Nothing),
            ("id: 1\nretry: 5\n", Tail::Nothing),
            ("retry: 50", Tail::Nothing),
            ("{\"error\":1}", Tail::Nothing),
            ("data: a\n", EVENT),
            ("data: a\nid: 1\r\n", EVENT),
            ("event: x\ndata\n", EVENT),
            ("data: a\n: c", LINE),
            ("data: {\"a\":1}", LINE),
            ("data: {\"a\":\ndata:1}", LINE),
            ("data: [DONE]", LINE),
            ("data: {\"a\":1", Tail::Incomplete),
            ("data: 12", Tail::Incomplete),
            ("data: a", Tail::Incomplete),
            ("data", Tail::Incomplete),
            ("da", Tail::Incomplete),
            ("event: x\n", Tail::Incomplete),
            ("event: x", Tail::Incomplete),
            ("data: a\nid: 1", Tail::Incomplete),
            ("data: {}\nevent: x", Tail::Incomplete),
        ] {
            let found = Tail::of_events(block.as_bytes(), |data| data == b"[DONE]" || is_whole_json(data));
            assert_eq!(found, tail, "{block:?}");
        }
        for (line, tail) in [
            ("", Tail::Nothing),
            (" \r", Tail::Nothing),
            ("}", Tail::Nothing),
            ("{}", EVENT),
            ("{}\r{}", EVENT),
            ("{\"a\"", Tail::Incomplete),
        ] {
            assert_eq!(Tail::of_lines(line.as_bytes()), tail, "{line:?}");
        }
    }
}
