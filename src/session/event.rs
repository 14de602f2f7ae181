//! Parses one event the way a client does.

use std::borrow::Cow;

use memchr::memchr2;

use super::format::Format;

/// The raw lines of one event, including the blank line. If that ends with CRLF, its LF is not included.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// The bytes, unchanged.
    pub bytes: &'a [u8],
    /// The block has a single line before the blank one. False if that is not known.
    pub is_single: bool,
}

/// The event that a block dispatches (WHATWG HTML, 9.2.6 "Interpreting an event stream").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The event type. Empty if there is none; clients then use `message`.
    pub name: &'a [u8],
    /// The values of the `data` fields, joined by LF.
    pub data: Cow<'a, [u8]>,
    /// It has a nonempty `id`, from which clients can resume.
    pub has_id: bool,
}

impl<'a> Event<'a> {
    /// Parses a block of a stream in this format. `None`: it dispatches no event.
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

    /// Fast path for nearly all events: a single `data` line. Does not search for the line end again.
    fn single(block: Block<'a>) -> Option<Self> {
        let line =
            block.bytes.strip_suffix(b"\n\n").filter(|line| block.is_single && !line.ends_with(b"\r"))?;
        let data = line.strip_prefix(b"data:")?;
        let data = data.strip_prefix(b" ").unwrap_or(data);
        Some(Self { name: b"", data: Cow::Borrowed(data), has_id: false })
    }

    /// Parses the lines of one block. `None`: it has no `data` field, so it dispatches nothing.
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

/// The nonempty lines of a block. CRLF counts as two line ends here; the empty line between them is skipped.
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

/// The values of all fields of a block with this name.
pub fn values<'a>(block: &'a [u8], name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    lines(block).filter_map(move |line| field(line, name))
}

/// The value of a field, if the line is a field with this name.
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
    fn fields_are_parsed_as_the_standard_requires() {
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
