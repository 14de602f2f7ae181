//! Rechunks a stream at its event boundaries: takes bytes as the backend fragmented them, and yields whole events.

use super::boundary::{BoundaryScanner, Scan, without_bom};
use super::event::Block;
use super::format::Format;
use super::lines::LineScanner;

/// The buffer that a stream with an incomplete event keeps between reads, in bytes. A larger one is shrunk.
const RESTING_CAPACITY: usize = 4 * 1024;

/// The first buffer of a stream in bytes. Most events fit without reallocation.
const FIRST_CAPACITY: usize = 512;

/// The buffer once the events of one read exceed [`RESTING_CAPACITY`], in bytes: enough for a whole large read.
const BUSY_CAPACITY: usize = 32 * 1024;

/// What the observer of a stream sees.
#[derive(Clone, Copy, Debug)]
pub enum Shown<'a> {
    /// A complete block of lines.
    Block(Block<'a>),
    /// The next bytes of a block that is too large to hold back.
    Part(&'a [u8]),
    /// The end of that block.
    PartsEnd,
}

/// Finds the boundaries in a format.
#[derive(Debug)]
enum Scanner {
    Events(BoundaryScanner),
    Lines(LineScanner),
    /// Every position is a boundary.
    Opaque,
}

impl Scanner {
    fn scan(&mut self, bytes: &[u8], mut block_ends: impl FnMut(usize, bool)) -> Scan {
        match self {
            Self::Events(scanner) => scanner.scan(bytes, block_ends),
            Self::Lines(scanner) => scanner.scan(bytes, |end| block_ends(end, true)),
            Self::Opaque => {
                block_ends(bytes.len(), false);
                Scan { boundary: Some(bytes.len()), events: 0 }
            }
        }
    }
}

/// Holds back the incomplete event at the end of the bytes received.
///
/// It never changes, drops or reorders bytes. An event larger than `max_event_size` is not held back: it passes as it
/// arrives. Holding back resumes at the next boundary.
#[derive(Debug)]
pub struct Rechunker {
    scanner: Scanner,
    buffer: Vec<u8>,
    /// The length of the scanned prefix of `buffer`.
    scanned: usize,
    /// The length of the prefix of `buffer` that may be written.
    ready: usize,
    /// Where the open block, or what is left of it, begins in `buffer`.
    open: usize,
    /// The open block is the first one, so a byte order mark may precede it.
    is_first: bool,
    /// The open event has been released in part, so it can no longer be dropped.
    torn: bool,
    max_event_size: usize,
    events: u64,
}

impl Rechunker {
    /// `max_event_size`: the most bytes of an incomplete event that are held back.
    pub fn new(format: Format, max_event_size: usize) -> Self {
        Self {
            scanner: match format {
                Format::EventStream => Scanner::Events(BoundaryScanner::default()),
                Format::Lines => Scanner::Lines(LineScanner::default()),
                Format::Opaque => Scanner::Opaque,
            },
            buffer: Vec::new(),
            scanned: 0,
            ready: 0,
            open: 0,
            is_first: true,
            torn: false,
            max_event_size,
            events: 0,
        }
    }

    /// Appends the next bytes of the body, and scans them. See [`Self::scan`].
    pub fn push(&mut self, bytes: &[u8], observe: impl FnMut(Shown<'_>)) {
        self.append(bytes);
        self.scan(observe);
    }

    /// Appends bytes of the body without scanning them. It is cheaper to scan several chunks of one read together.
    pub fn append(&mut self, bytes: &[u8]) {
        if self.buffer.capacity() - self.buffer.len() < bytes.len() {
            self.grow(bytes.len());
        }
        self.buffer.extend_from_slice(bytes);
    }

    #[cold]
    fn grow(&mut self, by: usize) {
        let least = match self.buffer.capacity() {
            0 => FIRST_CAPACITY,
            // The read has more than a few events, so much more may follow.
            RESTING_CAPACITY.. => BUSY_CAPACITY,
            _ => RESTING_CAPACITY,
        };
        self.buffer.reserve(by.max(least));
    }

    /// Finds the boundaries in the appended bytes. Calls `observe` for each complete block. A block that is too large to
    /// hold back is observed in parts as they pass.
    pub fn scan(&mut self, mut observe: impl FnMut(Shown<'_>)) {
        let before = self.scanned;
        self.scanned = self.buffer.len();
        let (buffer, open, torn, is_first) =
            (&self.buffer, &mut self.open, &mut self.torn, &mut self.is_first);
        let scan = self.scanner.scan(&buffer[before..], |end, is_single| {
            let end = before + end;
            if std::mem::take(torn) {
                observe(Shown::Part(&buffer[before..end]));
                observe(Shown::PartsEnd);
            } else {
                let bytes = &buffer[*open..end];
                let bytes = if std::mem::take(is_first) { without_bom(bytes) } else { bytes };
                observe(Shown::Block(Block { bytes, is_single }));
            }
            *open = end;
        });
        self.events += scan.events;
        if let Some(boundary) = scan.boundary {
            self.ready = before + boundary;
        }
        if self.torn {
            observe(Shown::Part(&self.buffer[before..]));
        } else if self.buffer.len() - self.ready > self.max_event_size {
            observe(Shown::Part(self.open_block()));
            (self.torn, self.is_first) = (true, false);
        }
        if self.torn {
            self.ready = self.buffer.len();
        }
    }

    /// The bytes that may be written: whole events, or part of an event too large to hold back.
    ///
    /// While [`Self::awaits_lf`] is true, they end between the CR and the LF of a CRLF.
    pub fn ready(&self) -> &[u8] {
        &self.buffer[..self.ready]
    }

    /// Whether the last ready byte is a CR that is probably half of a CRLF.
    ///
    /// The event is complete without the LF, so the caller must not wait long for it.
    pub fn awaits_lf(&self) -> bool {
        let Scanner::Events(scanner) = &self.scanner else { return false };
        self.ready > 0 && self.ready == self.buffer.len() && scanner.expects_lf()
    }

    /// Removes the ready bytes. Call it once they are written.
    pub fn consume(&mut self) {
        self.buffer.drain(..self.ready);
        self.open = self.open.saturating_sub(self.ready);
        self.scanned = self.scanned.saturating_sub(self.ready);
        self.ready = 0;
        if self.buffer.is_empty() {
            // Free the buffer: the next stream on this thread gets the same memory, while it is still in the cache.
            self.buffer = Vec::new();
        } else if self.buffer.len() <= RESTING_CAPACITY && self.buffer.capacity() > RESTING_CAPACITY {
            self.buffer.shrink_to(RESTING_CAPACITY);
        }
    }

    /// Whether the ready bytes end between two events, so that a heartbeat or an error event may follow.
    pub fn between_events(&self) -> bool {
        !self.torn
    }

    /// Whether the last ready byte was a CR whose LF may still arrive.
    pub fn after_cr(&self) -> bool {
        let Scanner::Events(scanner) = &self.scanner else { return false };
        self.buffer.len() == self.ready && scanner.after_cr()
    }

    /// Drops the incomplete event that is held back. An event that has been released in part stays as it is.
    pub fn drop_incomplete(&mut self) {
        self.buffer.truncate(self.ready);
        self.scanned = self.ready;
    }

    /// The open block so far. If it is too large to hold back, only the bytes that are not written yet.
    pub fn open_block(&self) -> &[u8] {
        let block = &self.buffer[self.open.min(self.buffer.len())..];
        if self.is_first { without_bom(block) } else { block }
    }

    /// The line ends that complete the event here, in the style of the stream. `lines`: how many, 1 or 2.
    pub fn line_ends(&self, lines: usize) -> &'static [u8] {
        match (&self.scanner, lines) {
            // After a CR, an LF would only complete a CRLF. The blank line needs another CR.
            (Scanner::Events(scanner), 1) if scanner.after_cr() => b"\r",
            (Scanner::Events(scanner), 2) if scanner.uses_bare_cr() => b"\r\r",
            (_, 2) => b"\n\n",
            _ => b"\n",
        }
    }

    /// Appends bytes of our own after the last whole event, and makes them ready.
    pub fn append_own(&mut self, bytes: &[u8]) {
        self.append(bytes);
        (self.scanned, self.open, self.ready) = (self.buffer.len(), self.buffer.len(), self.buffer.len());
    }

    /// Makes the held-back bytes ready, although their event is incomplete.
    pub fn release_incomplete(&mut self) {
        self.ready = self.buffer.len();
    }

    /// The number of complete events so far (blocks with data).
    pub fn events(&self) -> u64 {
        self.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(max_event_size: usize) -> Rechunker {
        Rechunker::new(Format::EventStream, max_event_size)
    }

    fn shown(seen: &mut Vec<String>) -> impl FnMut(Shown<'_>) {
        |shown| {
            seen.push(match shown {
                Shown::Block(block) => String::from_utf8_lossy(block.bytes).into_owned(),
                Shown::Part(part) => format!("part {}", String::from_utf8_lossy(part)),
                Shown::PartsEnd => "end".to_owned(),
            });
        }
    }

    #[test]
    fn incomplete_lines_are_held_back() {
        let mut rechunker = Rechunker::new(Format::Lines, 1024);
        let mut seen = Vec::new();
        rechunker.push(b"{}\n\n{\"a\"", shown(&mut seen));
        assert_eq!(rechunker.ready(), b"{}\n\n");
        rechunker.consume();
        rechunker.push(b":1}", shown(&mut seen));
        assert_eq!((rechunker.ready(), rechunker.open_block()), (&b""[..], &b"{\"a\":1}"[..]));
        rechunker.push(b"\n", shown(&mut seen));
        assert_eq!(rechunker.ready(), b"{\"a\":1}\n");
        assert_eq!(seen, ["{}\n", "\n", "{\"a\":1}\n"]);
        assert_eq!(rechunker.events(), 2);
    }

    #[test]
    fn opaque_bodies_are_not_held_back() {
        let mut rechunker = Rechunker::new(Format::Opaque, 1);
        rechunker.push(b"data: a\n\nb", |_| {});
        assert_eq!((rechunker.ready(), rechunker.events()), (&b"data: a\n\nb"[..], 0));
    }

    #[test]
    fn a_comment_between_events_is_ready_after_its_line() {
        let mut rechunker = events(1024);
        rechunker.push(b"data: a\n\n: ping\nid: 1\n: no\nda", |_| {});
        assert_eq!(rechunker.ready(), b"data: a\n\n: ping\n");
        rechunker.consume();
        assert!(rechunker.between_events());
        assert_eq!(rechunker.open_block(), b"id: 1\n: no\nda");
    }

    #[test]
    fn the_incomplete_event_is_held_back() {
        let mut rechunker = events(1024);
        rechunker.push(b"data: a\n\ndata: b", |_| {});
        assert_eq!(rechunker.ready(), b"data: a\n\n");
        rechunker.consume();
        assert_eq!(rechunker.ready(), b"");
        rechunker.push(b"\n\n", |_| {});
        assert_eq!(rechunker.ready(), b"data: b\n\n");
        assert_eq!(rechunker.events(), 2);
    }

    #[test]
    fn an_event_beyond_the_limit_passes_through_and_holding_resumes_after_it() {
        let mut rechunker = events(8);
        rechunker.push(b"data: 12", |_| {});
        assert_eq!(rechunker.ready(), b"");
        rechunker.push(b"3", |_| {});
        assert_eq!(rechunker.ready(), b"data: 123");
        assert!(!rechunker.between_events());
        rechunker.consume();
        rechunker.push(b"4", |_| {});
        assert_eq!(rechunker.ready(), b"4");
        rechunker.consume();
        rechunker.push(b"5\n\ndata", |_| {});
        assert_eq!(rechunker.ready(), b"5\n\n");
        assert!(rechunker.between_events());
        rechunker.consume();
        rechunker.drop_incomplete();
        assert_eq!(rechunker.open_block(), b"");
    }

    #[test]
    fn a_crlf_split_across_reads_is_written_whole() {
        let mut rechunker = events(1024);
        rechunker.push(b"data: a\r\n\r", |_| {});
        assert!(rechunker.awaits_lf());
        assert_eq!(rechunker.ready(), b"data: a\r\n\r");
        rechunker.push(b"\ndata: b\r\n\r\n", |_| {});
        assert!(!rechunker.awaits_lf());
        assert_eq!(rechunker.ready(), b"data: a\r\n\r\ndata: b\r\n\r\n");
    }

    #[test]
    fn a_stream_with_bare_cr_does_not_wait_for_lf() {
        let mut rechunker = events(1024);
        rechunker.push(b"data: a\r\r", |_| {});
        assert!(!rechunker.awaits_lf());
        assert_eq!(rechunker.ready(), b"data: a\r\r");
    }

    #[test]
    fn missing_line_ends_are_added_in_the_style_of_the_stream() {
        for (stream, lines, end) in [
            (&b"data: a\n"[..], 1, &b"\n"[..]),
            (b"data: a\r\n", 1, b"\n"),
            (b"data: a\r", 1, b"\r"),
            (b"data: a\r\rdata: b", 2, b"\r\r"),
            (b"data: a\r\n\r\ndata: b", 2, b"\n\n"),
        ] {
            let mut rechunker = events(1024);
            rechunker.push(stream, |_| {});
            assert_eq!(rechunker.line_ends(lines), end, "{stream:?}");
            let before = rechunker.events();
            rechunker.push(end, |_| {});
            assert_eq!(rechunker.events(), before + 1);
        }
    }

    #[test]
    fn blocks_are_observed_whole_and_large_ones_in_parts() {
        let mut rechunker = events(16);
        let mut seen = Vec::new();
        for piece in [
            &b"data: a\n\nda"[..],
            b"ta: b\r",
            b"\n\r\n: c\n\nevent: x\ndata: 12345678",
            b"9\nda",
            b"ta: d\n\ndata: e\n\n",
        ] {
            rechunker.push(piece, shown(&mut seen));
            rechunker.consume();
        }
        let blocks = [
            "data: a\n\n",
            "data: b\r\n\r",
            "\n: c\n",
            "\n",
            "part event: x\ndata: 12345678",
            "part 9\nda",
            "part ta: d\n\n",
            "end",
            "data: e\n\n",
        ];
        assert_eq!(seen, blocks);
    }
}
