//! JSON lines (`application/x-ndjson`, `application/jsonl`): finds the lines, and converts them into an event stream.

use memchr::{memchr, memchr2};

use super::boundary::Scan;

/// Finds the ends of lines. A CR before the LF stays in the line, because it is white space in JSON (RFC 8259, 2).
#[derive(Clone, Debug, Default)]
pub struct LineScanner {
    /// The open line is not blank.
    has_text: bool,
}

impl LineScanner {
    /// Scans the next slice of the stream. Calls `line_ends` after each LF with the length of the prefix of the slice that
    /// ends there. Blank lines do not count as events.
    pub fn scan(&mut self, bytes: &[u8], mut line_ends: impl FnMut(usize)) -> Scan {
        let mut found = Scan::default();
        let mut at = 0;
        while let Some(length) = memchr(b'\n', &bytes[at..]) {
            self.has_text |= !bytes[at..at + length].trim_ascii().is_empty();
            at += length + 1;
            found.boundary = Some(at);
            found.events += u64::from(std::mem::take(&mut self.has_text));
            line_ends(at);
        }
        self.has_text |= !bytes[at..].trim_ascii().is_empty();
        found
    }
}

/// What becomes one event when a body is converted into an event stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Each line.
    Line,
    /// The whole body: one JSON text on any number of lines.
    Body,
}

/// Converts JSON texts into events: each text becomes the data of one event.
///
/// A line end within a text, which is white space in JSON, starts another `data` field. Clients join these with an LF.
/// Everything else is unchanged.
#[derive(Clone, Debug)]
pub struct ToEvents {
    unit: Unit,
    in_text: bool,
    /// A line end was read. It becomes part of the text if more of it follows.
    after_line_end: bool,
}

impl ToEvents {
    /// A converter at the beginning of a body.
    pub fn new(unit: Unit) -> Self {
        Self { unit, in_text: false, after_line_end: false }
    }

    /// Converts the next slice of the body, and appends the result to `events`.
    pub fn push(&mut self, mut bytes: &[u8], events: &mut Vec<u8>) {
        while let Some(&byte) = bytes.first() {
            match byte {
                b'\n' if self.unit == Unit::Line => {
                    if std::mem::take(&mut self.in_text) {
                        events.extend_from_slice(b"\n\n");
                    }
                    self.after_line_end = false;
                    bytes = &bytes[1..];
                }
                b'\n' | b'\r' => {
                    self.after_line_end = true;
                    bytes = &bytes[1..];
                }
                _ => {
                    self.begin(events);
                    let end = memchr2(b'\n', b'\r', bytes).unwrap_or(bytes.len());
                    events.extend_from_slice(&bytes[..end]);
                    bytes = &bytes[end..];
                }
            }
        }
    }

    fn begin(&mut self, events: &mut Vec<u8>) {
        if !self.in_text {
            events.extend_from_slice(b"data: ");
        } else if self.after_line_end {
            events.extend_from_slice(b"\ndata: ");
        }
        self.in_text = true;
        self.after_line_end = false;
    }

    /// Ends the last text at the regular end of the body. The session adds the blank line if the text is complete.
    pub fn finish(&mut self, events: &mut Vec<u8>) {
        if std::mem::take(&mut self.in_text) {
            events.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_lf_and_blank_ones_do_not_count() {
        let mut scanner = LineScanner::default();
        let mut ends = Vec::new();
        let scan = scanner.scan(b"{\"a\":1}\r\n\n \r\n{}\n{", |end| ends.push(end));
        assert_eq!(scan, Scan { boundary: Some(16), events: 2 });
        assert_eq!(ends, [9, 10, 13, 16]);
        assert_eq!(scanner.scan(b"}", |_| {}), Scan::default());
        assert_eq!(scanner.scan(b"\n", |_| {}), Scan { boundary: Some(1), events: 1 });
    }

    #[test]
    fn each_text_becomes_an_event() {
        for (unit, texts, stream) in [
            (Unit::Line, "{\"a\":1}\n{}\n", "data: {\"a\":1}\n\ndata: {}\n\n"),
            (Unit::Line, "{}\r\n\r\n\n{}\r\n", "data: {}\n\ndata: {}\n\n"),
            (Unit::Line, "{\"a\":\r1}\n", "data: {\"a\":\ndata: 1}\n\n"),
            (Unit::Line, "{}", "data: {}\n"),
            (Unit::Line, "", ""),
            (Unit::Body, "{\r\n  \"a\":\n\n1\n}\n", "data: {\ndata:   \"a\":\ndata: 1\ndata: }\n"),
            (Unit::Body, "\n", ""),
        ] {
            for split in 0..=texts.len() {
                let (mut converter, mut events) = (ToEvents::new(unit), Vec::new());
                converter.push(&texts.as_bytes()[..split], &mut events);
                converter.push(&texts.as_bytes()[split..], &mut events);
                converter.finish(&mut events);
                assert_eq!(String::from_utf8_lossy(&events), stream, "{texts:?} split at {split}");
            }
        }
    }
}
