//! One event as a client parses it.

use std::borrow::Cow;

use memchr::memchr2;

use super::format::Format;

/// The lines of one event as they came, up to the blank one: the LF of a CRLF there is not part of it.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    pub bytes: &'a [u8],
    /// It is known that there is only one line before the blank one.
    pub is_single: bool,
}

/// What a block of lines dispatches (WHATWG HTML, 9.2.6 "Interpreting an event stream").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The event type; empty where the stream names none, which clients take for `message`.
    pub name: &'a [u8],
    /// The data, its lines joined by LF.
    pub data: Cow<'a, [u8]>,
}

impl<'a> Event<'a> {
    /// Reads what a rechunker of this format shows.
    pub fn of(format: Format, block: Block<'a>) -> Option<Self> {
        match format {
            Format::EventStream => Self::single(block).or_else(|| Self::parse(block.bytes)),
            Format::Lines => {
                let data = block.bytes.trim_ascii();
                (!data.is_empty()).then_some(Self { name: b"", data: Cow::Borrowed(data) })
            }
        }
    }

    /// Reads what nearly every event is, one line with data, without looking for its end again.
    fn single(block: Block<'a>) -> Option<Self> {
        let line =
            block.bytes.strip_suffix(b"\n\n").filter(|line| block.is_single && !line.ends_with(b"\r"))?;
        let data = line.strip_prefix(b"data:")?;
        Some(Self { name: b"", data: Cow::Borrowed(data.strip_prefix(b" ").unwrap_or(data)) })
    }

    /// Reads the lines of one block. `None` if they dispatch nothing: there is no data.
    pub fn parse(block: &'a [u8]) -> Option<Self> {
        let mut name = &b""[..];
        let mut data: Option<Cow<[u8]>> = None;
        let mut rest = block.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(block);
        while let Some(&first) = rest.first() {
            // An empty line, which the LF of a CRLF looks like here too, changes nothing inside a block.
            if matches!(first, b'\n' | b'\r') {
                rest = &rest[1..];
                continue;
            }
            let (line, following) = rest.split_at(memchr2(b'\n', b'\r', rest).unwrap_or(rest.len()));
            rest = following;
            if let Some(value) = field(line, b"data") {
                data = Some(match data {
                    None => Cow::Borrowed(value),
                    Some(first) => Cow::Owned([&first, &b"\n"[..], value].concat()),
                });
            } else if let Some(value) = field(line, b"event") {
                name = value;
            }
        }
        data.map(|data| Self { name, data })
    }
}

/// The value of a line, if it is this field.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    match line.strip_prefix(name)? {
        [] => Some(b""),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(block: &[u8]) -> Option<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Event::parse(block).map(|event| (text(event.name), text(&event.data)))
    }

    #[test]
    fn fields_are_read_as_the_standard_says() {
        for (block, name, data) in [
            (&b"data: a\n\n"[..], "", "a"),
            (b"data:a\n\n", "", "a"),
            (b"data:  a\n\n", "", " a"),
            (b"data\n\n", "", ""),
            (b"event: x\ndata: a\ndata: b\n\n", "x", "a\nb"),
            (b"data: a\r\nevent:x\r\n\r\n", "x", "a"),
            (b"data: a\rid: 1\r\r", "", "a"),
            (b"\xEF\xBB\xBF: c\ndata: a\n\n", "", "a"),
            (b"\ndata: a\n\n", "", "a"),
        ] {
            assert_eq!(parsed(block), Some((name.to_owned(), data.to_owned())), "{block:?}");
        }
        for nothing in [&b""[..], b": c\n\n", b"event: x\n\n", b"database: x\n\n"] {
            assert_eq!(parsed(nothing), None, "{nothing:?}");
        }
    }
}
