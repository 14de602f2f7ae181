//! Finds the boundaries between events in a stream of bytes.
//!
//! It is not a parser: it decodes, copies and keeps no bytes. It only determines the longest prefix that can be written
//! without splitting an event.

use memchr::memchr2;

/// The field name that makes a block an event: without it, the blank line dispatches nothing (WHATWG HTML, 9.2.6).
const DATA: &[u8] = b"data";
const DATA_FIELD: &[u8] = b"data:";
/// The stream may begin with a byte order mark, which is not part of the first field (WHATWG HTML, 9.2.5).
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The stream without its byte order mark.
pub fn without_bom(stream: &[u8]) -> &[u8] {
    stream.strip_prefix(BOM).unwrap_or(stream)
}

/// The position within the current line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// At the start of the stream, after this number of bytes of a byte order mark.
    Bom(u8),
    /// At the start of a line. A line end here makes it blank.
    Start,
    /// The line so far is a prefix of the field name `data`, of this length.
    Name(u8),
    /// In a comment before the first field of a block.
    Comment,
    /// In a line whose field name is known.
    Rest,
}

/// The result of scanning one slice of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The length of the prefix that ends with the last boundary in the slice, in bytes. `None`: there is no boundary.
    pub boundary: Option<usize>,
    /// The events that end within that prefix: blocks with at least one `data` field.
    pub events: u64,
}

/// Finds the ends of events (WHATWG HTML, 9.2.5 "Parsing an event stream").
///
/// An event ends with a blank line. Lines end with LF, CR or CRLF. A CR at the end of a slice may be half of a CRLF whose
/// LF arrives in the next one. The scanner keeps this as a flag, not as bytes, and reads no byte twice.
///
/// A comment before the first field of a block is between events, so the end of its line is a boundary even without a
/// blank line. Backends send such comments as heartbeats.
#[derive(Clone, Debug)]
pub struct BoundaryScanner {
    line: Line,
    /// The last byte was a CR. An LF right after it belongs to the same line end.
    after_cr: bool,
    /// That CR ended at a boundary. An LF right after it moves the boundary behind the LF.
    cr_was_boundary: bool,
    /// The open block has a `data` field.
    has_data: bool,
    /// The number of lines in the open block. Saturates.
    lines: u8,
    seen_crlf: bool,
    seen_bare_cr: bool,
}

impl Default for BoundaryScanner {
    fn default() -> Self {
        Self {
            line: Line::Bom(0),
            after_cr: false,
            cr_was_boundary: false,
            has_data: false,
            lines: 0,
            seen_crlf: false,
            seen_bare_cr: false,
        }
    }
}

impl BoundaryScanner {
    /// Scans the next slice of the stream.
    ///
    /// Calls `block_ends` at each boundary, with the length of the prefix of the slice that ends there, and whether the
    /// block has a single line. If the boundary ends with CRLF, the length excludes the LF.
    pub fn scan(&mut self, bytes: &[u8], mut block_ends: impl FnMut(usize, bool)) -> Scan {
        let mut found = Scan::default();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.after_cr {
                self.after_cr = false;
                if byte == b'\n' {
                    self.seen_crlf = true;
                    at += 1;
                    if self.cr_was_boundary {
                        found.boundary = Some(at);
                    }
                    continue;
                }
                self.seen_bare_cr = true;
            }
            match byte {
                b'\n' | b'\r' => {
                    let is_boundary = self.end_line(&mut found.events);
                    self.after_cr = byte == b'\r';
                    self.cr_was_boundary = is_boundary;
                    at += 1;
                    if is_boundary {
                        found.boundary = Some(at);
                        block_ends(at, self.lines == 1);
                        self.lines = 0;
                    } else {
                        self.lines = self.lines.saturating_add(1);
                    }
                }
                // Most bytes of a stream: skip to the end of the line.
                _ if matches!(self.line, Line::Rest | Line::Comment) => at = line_end(bytes, at),
                // Fast path: `data:` in one step, and also the blank line if the event has a single line.
                _ if self.line == Line::Start && bytes[at..].starts_with(DATA_FIELD) => {
                    at = line_end(bytes, at + DATA_FIELD.len());
                    if self.lines == 0 && bytes[at..].starts_with(b"\n\n") {
                        at += 2;
                        found = Scan { boundary: Some(at), events: found.events + 1 };
                        block_ends(at, true);
                    } else {
                        self.has_data = true;
                        self.line = Line::Rest;
                    }
                }
                _ => {
                    self.read_name(byte);
                    at += 1;
                }
            }
        }
        found
    }

    /// Whether the last byte was a CR, so that an LF may follow that completes a CRLF.
    pub fn after_cr(&self) -> bool {
        self.after_cr
    }

    /// Whether the last boundary ended with a CR that is probably the first half of a CRLF: the stream has used CRLF, or
    /// has not used a bare CR yet.
    pub fn expects_lf(&self) -> bool {
        self.after_cr && self.cr_was_boundary && (self.seen_crlf || !self.seen_bare_cr)
    }

    /// Whether the lines of this stream end with bare CRs.
    pub fn uses_bare_cr(&self) -> bool {
        self.seen_bare_cr && !self.seen_crlf
    }

    /// Ends the current line. Returns whether the line end is a boundary.
    fn end_line(&mut self, events: &mut u64) -> bool {
        let is_boundary = match self.line {
            Line::Start | Line::Bom(0 | 3) => {
                *events += u64::from(std::mem::take(&mut self.has_data));
                true
            }
            Line::Comment => true,
            // A line without a colon is a field with an empty value (WHATWG HTML, 9.2.6).
            Line::Name(n) => {
                self.has_data |= usize::from(n) == DATA.len();
                false
            }
            Line::Bom(_) | Line::Rest => false,
        };
        self.line = Line::Start;
        is_boundary
    }

    /// Reads a byte of the field name, other than a line end.
    fn read_name(&mut self, byte: u8) {
        self.line = match self.line {
            Line::Bom(n) if BOM.get(usize::from(n)) == Some(&byte) => Line::Bom(n + 1),
            Line::Bom(0 | 3) | Line::Start if byte == DATA[0] => Line::Name(1),
            // A comment after the first field belongs to the block.
            Line::Bom(0 | 3) | Line::Start if byte == b':' && self.lines == 0 => Line::Comment,
            Line::Name(n) if DATA.get(usize::from(n)) == Some(&byte) => Line::Name(n + 1),
            Line::Name(n) if usize::from(n) == DATA.len() && byte == b':' => {
                self.has_data = true;
                Line::Rest
            }
            _ => Line::Rest,
        };
    }
}

/// The position of the next line end from `at`, or the end of `bytes`.
fn line_end(bytes: &[u8], at: usize) -> usize {
    memchr2(b'\n', b'\r', &bytes[at..]).map_or(bytes.len(), |length| at + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(bytes: &[u8]) -> Scan {
        BoundaryScanner::default().scan(bytes, |_, _| {})
    }

    #[test]
    fn an_event_ends_with_a_blank_line_of_any_kind() {
        for (stream, boundary) in [
            (&b"data: a\n\ndata"[..], 9),
            (b"data: a\r\rdata", 9),
            (b"data: a\r\n\r\ndata", 11),
            (b"data: a\n\r\ndata", 10),
            (b"data: a\r\n\rdata", 10),
            (b"data: a\r\n\ndata", 10),
        ] {
            assert_eq!(scan(stream), Scan { boundary: Some(boundary), events: 1 }, "{stream:?}");
        }
        assert_eq!(scan(b"data: a\r\ndata: b\n").boundary, None);
    }

    #[test]
    fn only_blocks_with_data_count_as_events() {
        assert_eq!(scan(b": comment\n\n").events, 0);
        assert_eq!(scan(b"event: ping\n\n").events, 0);
        assert_eq!(scan(b"id: 7\n\nretry: 5\n\n\n").events, 0);
        assert_eq!(scan(b"database: x\n\ndat\n\nxdata: y\n\n").events, 0);
        assert_eq!(scan(b"data\n\ndata:\n\n").events, 2);
        assert_eq!(scan(b"event: x\ndata: y\nid: 1\n\n").events, 1);
    }

    #[test]
    fn a_comment_between_events_ends_with_its_line() {
        for (stream, boundary, events) in [
            (&b": c\n"[..], Some(4), 0),
            (b": c\r\ndata: a", Some(5), 0),
            (b"\xEF\xBB\xBF:\n", Some(5), 0),
            (b"data: a\n\n:c\n:d\nid: 1\n", Some(15), 1),
            (b"data: a\n: c\n", None, 0),
            (b"id: 1\n: c\ndata: a\n\n", Some(19), 1),
            (b": c", None, 0),
        ] {
            assert_eq!(scan(stream), Scan { boundary, events }, "{}", String::from_utf8_lossy(stream));
        }
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_a_field() {
        assert_eq!(scan(b"\xEF\xBB\xBFdata: x\n\n").events, 1);
        assert_eq!(scan(b"data: a\n\n\xEF\xBB\xBFdata: x\n\n").events, 1);
        assert_eq!(scan(b"\xEF\xBB\xBF\n").boundary, Some(4));
        assert_eq!(scan(b"\xEF\xBB\n\n").boundary, Some(4));
    }

    #[test]
    fn a_trailing_cr_is_half_of_a_crlf_unless_the_stream_uses_bare_cr() {
        let mut crlf = BoundaryScanner::default();
        assert_eq!(crlf.scan(b"data: a\r\n\r", |_, _| {}).boundary, Some(10));
        assert!(crlf.expects_lf());
        assert_eq!(crlf.scan(b"\n", |_, _| {}).boundary, Some(1));
        assert!(!crlf.expects_lf());

        let mut cr = BoundaryScanner::default();
        assert_eq!(cr.scan(b"data: a\r\r", |_, _| {}).boundary, Some(9));
        assert!(cr.after_cr() && !cr.expects_lf());
    }
}
