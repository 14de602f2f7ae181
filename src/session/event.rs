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
    /// It has an `id` that is not empty, which clients can resume from.
    pub has_id: bool,
}

impl<'a> Event<'a> {
    /// Reads what a rechunker of this format shows.
    #[inline]
    pub fn of(format: Format, block: Block<'a>) -> Option<Self> {
        match format {
            Format::EventStream => Self::single(block).or_else(|| Self::parse(block.bytes)),
            Format::Lines => {
                let data = block.bytes.trim_ascii();
                (!data.is_empty()).then_some(Self { name: b"", data: Cow::Borrowed(data), has_id: false })
            }
            Format::Opaque => None,
        }
    }

    /// Reads what nearly every event is, one line with data, without looking for its end again.
    fn single(block: Block<'a>) -> Option<Self> {
        let line =
            block.bytes.strip_suffix(b"\n\n").filter(|line| block.is_single && !line.ends_with(b"\r"))?;
        let data = line.strip_prefix(b"data:")?;
        let data = data.strip_prefix(b" ").unwrap_or(data);
        Some(Self { name: b"", data: Cow::Borrowed(data), has_id: false })
    }

    /// Reads the lines of one block. `None` if they dispatch nothing: there is no data.
    pub fn parse(block: &'a [u8]) -> Option<Self> {
        let (mut name, mut has_id) = (&b""[..], false);
        let mut data: Option<Cow<[u8]>> = None;
        for line in lines(block) {
            if let Some(value) = field(line, b"data") {
                data = Some(match data {
                    None => Cow::Borrowed(value),
                    Some(first) => Cow::Owned([&first, &b"\n"[..], value].concat()),
                });
            } else if let Some(value) = field(line, b"event") {
                name = value;
            } else if let Some(value) = field(line, b"id") {
                has_id |= !value.is_empty();
            }
        }
        data.map(|data| Self { name, data, has_id })
    }
}

/// The lines of a block that are not empty. What looks like an empty one here is the LF of a CRLF, and changes nothing inside a
/// block.
pub fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = block;
    std::iter::from_fn(move || {
        while let Some(b'\n' | b'\r') = rest.first() {
            rest = &rest[1..];
        }
        let (line, following) = rest.split_at(memchr2(b'\n', b'\r', rest).unwrap_or(rest.len()));
        rest = following;
        (!line.is_empty()).then_some(line)
    })
}

/// The values of all lines of a block that are this field.
pub fn values<'a>(block: &'a [u8], name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    lines(block).filter_map(move |line| field(line, name))
}

/// The value of a line, if it is this field.
pub fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
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
            (b"\ndata: a\n\n", "", "a"),
        ] {
            assert_eq!(parsed(block), Some((name.to_owned(), data.to_owned())), "{block:?}");
        }
        for nothing in [&b""[..], b": c\n\n", b"event: x\n\n", b"database: x\n\n"] {
            assert_eq!(parsed(nothing), None, "{nothing:?}");
        }
    }
}
