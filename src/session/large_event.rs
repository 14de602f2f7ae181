//! Reads an event that is too large to hold back, while it passes: its name, and its data in condensed form.

use std::borrow::Cow;

use super::condense::{Condenser, Unreadable};
use super::event::Event;
use super::format::Format;

/// The most bytes kept of a name. No known event type is longer.
const NAME: usize = 128;

/// Reads one event incrementally.
#[derive(Debug)]
pub struct LargeEvent {
    format: Format,
    line: LinePart,
    after_cr: bool,
    /// The name of the open field.
    field: Vec<u8>,
    /// The value of `event`.
    name: Vec<u8>,
    has_data: bool,
    has_id: bool,
    data: Condenser,
}

/// The position within the current line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinePart {
    /// In the name of the field.
    Field,
    /// After `data:`. One space here is not part of the value.
    BeforeData,
    Data,
    /// After `event:`, likewise.
    BeforeName,
    Name,
    Id,
    /// In a field or comment that is not needed.
    Other,
}

impl LargeEvent {
    /// An event of a stream in this format.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            line: LinePart::Field,
            after_cr: false,
            field: Vec::new(),
            name: Vec::new(),
            has_data: false,
            has_id: false,
            data: Condenser::default(),
        }
    }

    /// Reads the next bytes of the event.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.format == Format::Lines {
            self.has_data = true;
            return self.data.push(bytes);
        }
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            match (self.line, byte) {
                (_, b'\n' | b'\r') => {
                    if !(byte == b'\n' && self.after_cr) {
                        self.end_line();
                    }
                    self.after_cr = byte == b'\r';
                    rest = &rest[1..];
                    continue;
                }
                (LinePart::Data | LinePart::Other, _) => {
                    let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                    if self.line == LinePart::Data {
                        self.data.push(&rest[..end]);
                    }
                    rest = &rest[end..];
                    self.after_cr = false;
                    continue;
                }
                (LinePart::Field, b':') => self.begin_value(),
                (LinePart::Field, _) if self.field.len() < NAME => self.field.push(byte),
                (LinePart::Field, _) => self.line = LinePart::Other,
                (LinePart::BeforeData, b' ') => self.line = LinePart::Data,
                (LinePart::BeforeData, _) => {
                    self.line = LinePart::Data;
                    continue;
                }
                (LinePart::BeforeName, b' ') => self.line = LinePart::Name,
                (LinePart::BeforeName | LinePart::Name, _) => {
                    self.line = LinePart::Name;
                    if self.name.len() < NAME {
                        self.name.push(byte);
                    }
                }
                (LinePart::Id, _) => self.has_id |= byte != b' ',
            }
            self.after_cr = false;
            rest = &rest[1..];
        }
    }

    fn begin_value(&mut self) {
        self.line = match &self.field[..] {
            b"data" => {
                if self.has_data {
                    self.data.push(b"\n");
                }
                self.has_data = true;
                LinePart::BeforeData
            }
            b"event" => {
                self.name.clear();
                LinePart::BeforeName
            }
            b"id" => LinePart::Id,
            _ => LinePart::Other,
        };
    }

    fn end_line(&mut self) {
        if self.line == LinePart::Field && self.field == b"data" {
            self.has_data = true;
        }
        self.field.clear();
        self.line = LinePart::Field;
    }

    /// Whether the data is complete, so that only line ends are missing. See [`Condenser::is_whole`].
    pub fn is_whole(&self) -> bool {
        let is_open =
            matches!(self.line, LinePart::Data) || (self.line == LinePart::Field && self.field.is_empty());
        self.has_data && (is_open || self.format == Format::Lines) && self.data.is_whole()
    }

    /// The number of line ends that a complete event still needs.
    pub fn missing_line_ends(&self) -> usize {
        if self.format == Format::EventStream && self.line != LinePart::Field { 2 } else { 1 }
    }

    /// The event with condensed data. `None`: it has no `data` field.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] if the data could not be condensed.
    pub fn event(&self) -> Result<Option<Event<'_>>, Unreadable> {
        if !self.has_data {
            return Ok(None);
        }
        let data = self.data.text()?;
        Ok(Some(Event { name: &self.name, data: Cow::Borrowed(data), has_id: self.has_id }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(format: Format, event: &str) -> (LargeEvent, String) {
        let mut whole = LargeEvent::new(format);
        whole.push(event.as_bytes());
        let mut bytewise = LargeEvent::new(format);
        event.as_bytes().chunks(1).for_each(|byte| bytewise.push(byte));
        let shown = |event: &LargeEvent| format!("{:?} {}", event.event(), event.is_whole());
        assert_eq!(shown(&whole), shown(&bytewise), "{event:.200}");
        let data =
            whole.event().map(|event| event.map(|event| String::from_utf8_lossy(&event.data).into_owned()));
        let data = data.map_or("unreadable".to_owned(), Option::unwrap_or_default);
        (whole, data)
    }

    #[test]
    fn members_after_long_ones_are_kept() {
        let long = "x".repeat(100_000);
        let event = json!({ "choices": [{ "delta": { "content": long }, "finish_reason": "stop" }], "context": vec![7; 100_000],
            "escapes": "\u{1F980}\\\"\n".repeat(1000), "text": "\u{e9}\u{1F980}".repeat(1000), "deep": [[[[["a"]]]]], "last": 1 });
        let (_, data) = read(Format::EventStream, &format!("id: 7\nevent: x\ndata: {event}\n\n"));
        let data: Value = serde_json::from_str(&data).unwrap_or_default();
        assert_eq!(data["choices"][0]["finish_reason"], "stop");
        assert_eq!((&data["last"], data["context"].as_array().map(Vec::len)), (&json!(1), Some(32)));
        for cut in ["escapes", "text"] {
            let length = data[cut].as_str().map_or(0, str::len);
            assert!((10..100).contains(&length), "{cut}: {length}");
        }
        assert_eq!(data["deep"], event["deep"]);
    }

    #[test]
    fn large_and_deep_containers_are_left_out_and_the_rest_is_kept() {
        let wide: Vec<_> = (0..30)
            .map(|_| json!({ "n": (0..30).map(|m| json!({ "m": "x".repeat(m) })).collect::<Vec<_>>() }))
            .collect();
        let event = json!({ "jsonrpc": "2.0", "result": { "content": [wide, wide] }, "id": 9 });
        let (_, data) = read(Format::Lines, &event.to_string());
        let data: Value = serde_json::from_str(&data).unwrap_or_default();
        assert_eq!(data["id"], 9);
    }

    #[test]
    fn a_large_event_is_read_like_a_small_one() {
        for block in [
            "event: a\ndata: {\"a\":\ndata: 1}\n\n",
            "data:{\"a\":1}\r\nid: 4\r\n\r\n",
            "data: {\"a\":1}\revent:b\r\r",
            ": c\nevent: a\nevent: b\nid:\ndata: text\n\n",
            "event: a\n\n",
            "data\n\n",
            &format!("{}: x\ndata: 1\n\n", "f".repeat(200)),
        ] {
            let (large, _) = read(Format::EventStream, block);
            let small = Event::parse(block.as_bytes());
            let plain = |event: Option<Event>| {
                event.map(|e| {
                    (
                        e.name.to_vec(),
                        e.has_id,
                        e.data.iter().filter(|b| **b != b'\n').copied().collect::<Vec<_>>(),
                    )
                })
            };
            assert_eq!(plain(large.event().unwrap_or_default()), plain(small), "{block:?}");
        }
    }

    #[test]
    fn invalid_data_is_unreadable_and_incomplete_data_is_not_whole() {
        for (event, data, is_whole) in [
            ("data: {\"a\":1}", "{\"a\":1}", true),
            ("data: {\"a\":1", "unreadable", false),
            ("data: {\"a\":]}\n", "unreadable", false),
            ("data: {\"a\":\"x", "unreadable", false),
            ("data: text", "text", false),
            ("data: {}\nevent: x", "{}", false),
            ("data: {\"\\ud83d\":1}", "{\"\\ud83d\":1}", true),
        ] {
            let (large, read) = read(Format::EventStream, event);
            assert_eq!((read.as_str(), large.is_whole()), (data, is_whole), "{event}");
        }
        assert_eq!(read(Format::Lines, &"[".repeat(100_000)).1, "unreadable");
        let many: Value =
            (0..10_000).map(|n| (n.to_string(), json!("x"))).collect::<serde_json::Map<_, _>>().into();
        assert_eq!(read(Format::Lines, &many.to_string()).1, "unreadable");
    }
}
