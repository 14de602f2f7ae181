//! Classifies the rest of a stream after the last boundary, at a clean end of the body.

use serde::de::IgnoredAny;

use super::event::{self, Event};

/// What follows the last boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing that dispatches an event: comments, `id`, `retry`.
    Nothing,
    /// An event with complete data that only lacks this number of line ends.
    Event { missing_line_ends: usize },
    /// An incomplete event.
    Incomplete,
}

impl Tail {
    /// Classifies the open block of an event stream. `is_whole`: whether the data of an unfinished line is complete.
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
            // Clients ignore any other line, such as JSON outside of an event.
            Some(_) if !has_name && !has_data && !begins_event(unfinished) => Self::Nothing,
            _ => Self::Incomplete,
        }
    }

    /// Classifies the open line of a stream of JSON lines.
    pub fn of_lines(line: &[u8]) -> Self {
        let ends_text = line.trim_ascii_start().first().is_some_and(|first| matches!(first, b'}' | b']'));
        // One line may hold several texts, for example separated by CRs.
        let are_whole =
            serde_json::Deserializer::from_slice(line).into_iter::<IgnoredAny>().all(|text| text.is_ok());
        match line.trim_ascii().is_empty() {
            true => Self::Nothing,
            false if are_whole => Self::Event { missing_line_ends: 1 },
            // The last line of a text on several lines.
            false if ends_text => Self::Nothing,
            false => Self::Incomplete,
        }
    }
}

/// Whether an unfinished line may be a `data` or `event` field.
fn begins_event(line: &[u8]) -> bool {
    [&b"data"[..], b"event"].iter().any(|name| name.starts_with(line) || line.starts_with(name))
}

/// Whether data is certainly a complete JSON text. A number is not, because more digits may be missing.
pub fn is_whole_json(data: &[u8]) -> bool {
    let is_number = data.trim_ascii_start().first().is_some_and(|first| matches!(first, b'-' | b'0'..=b'9'));
    !is_number && serde_json::from_slice::<IgnoredAny>(data).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_and_incomplete_tails_are_distinguished() {
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
