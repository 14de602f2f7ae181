//! Re-chunks a stream at its event boundaries: bytes go in as the backend fragmented them, whole
//! events come out.

use super::boundary::{BoundaryScanner, Scan, without_bom};
use super::event::Block;
use super::format::Format;
use super::lines::LineScanner;

/// Memory that a stream at rest may keep for its next read; anything larger is given back.
const RESTING_CAPACITY: usize = 4 * 1024;

/// Memory that a stream begins with: room for most events, so that it does not grow step by step.
const FIRST_CAPACITY: usize = 512;

/// Memory that it gets once the events of one read have outgrown what it may keep: room for the whole of a large one.
const BUSY_CAPACITY: usize = 32 * 1024;

/// What a rechunker shows of the stream as it passes.
#[derive(Clone, Copy, Debug)]
pub enum Shown<'a> {
    /// A block of lines that was held back until it was whole.
    Block(Block<'a>),
    /// The next bytes of one that is too large to hold back.
    Part(&'a [u8]),
    /// That one is whole.
    PartsEnd,
}

/// What finds the boundaries.
#[derive(Debug)]
enum Scanner {
    Events(BoundaryScanner),
    Lines(LineScanner),
    /// There are none: everything passes as it comes.
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

/// Holds back the incomplete event at the end of what was read.
///
/// Bytes are never changed, dropped or reordered. An event that grows beyond `max_event_size` is no longer
/// held back: it passes through as it arrives, and holding resumes at its boundary.
#[derive(Debug)]
pub struct Rechunker {
    scanner: Scanner,
    buffer: Vec<u8>,
    /// How much of `buffer` the scanner has read.
    scanned: usize,
    /// Length of the prefix of `buffer` that may be written.
    ready: usize,
    /// Where in `buffer` the open block begins, or what is left of it.
    open: usize,
    /// That is the first one, which a byte order mark may precede.
    is_first: bool,
    /// The event that is open has partly been written: it can no longer be dropped.
    torn: bool,
    max_event_size: usize,
    events: u64,
}

impl Rechunker {
    /// `max_event_size`: how many bytes of an incomplete event are held back at most.
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

    /// Takes the next bytes of the upstream body and [scans](Self::scan) them.
    pub fn push(&mut self, bytes: &[u8], observe: impl FnMut(Shown<'_>)) {
        self.append(bytes);
        self.scan(observe);
    }

    /// Takes the next bytes of the upstream body, to be [scanned](Self::scan) with what follows: several chunks that came at once
    /// cost less together.
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
            // More than a few events at once: there may be much more.
            RESTING_CAPACITY.. => BUSY_CAPACITY,
            _ => RESTING_CAPACITY,
        };
        self.buffer.reserve(by.max(least));
    }

    /// Finds the boundaries in what was appended. `observe` is shown each block of lines when its blank line is there; one that is
    /// too large to hold back, in parts as they pass.
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

    /// What may be written: whole events, or part of one too large to hold back.
    ///
    /// While [`Self::awaits_lf`], a write now would end between the CR and the LF of a CRLF.
    pub fn ready(&self) -> &[u8] {
        &self.buffer[..self.ready]
    }

    /// Whether the last ready byte is a CR that most likely is half of a CRLF.
    ///
    /// The event is complete without it, so the caller must not wait for it for long.
    pub fn awaits_lf(&self) -> bool {
        let Scanner::Events(scanner) = &self.scanner else { return false };
        self.ready > 0 && self.ready == self.buffer.len() && scanner.expects_lf()
    }

    /// Forgets what [`Self::ready`] showed; to be called once it is written.
    pub fn consume(&mut self) {
        self.buffer.drain(..self.ready);
        self.open = self.open.saturating_sub(self.ready);
        self.scanned = self.scanned.saturating_sub(self.ready);
        self.ready = 0;
        if self.buffer.is_empty() {
            // The next stream to be served takes the same memory, which is near at hand by then.
            self.buffer = Vec::new();
        } else if self.buffer.len() <= RESTING_CAPACITY && self.buffer.capacity() > RESTING_CAPACITY {
            self.buffer.shrink_to(RESTING_CAPACITY);
        }
    }

    /// Whether everything that was written so far ends between two events, so that a heartbeat or an error
    /// event may follow.
    pub fn between_events(&self) -> bool {
        !self.torn
    }

    /// Whether the last byte taken was a CR, so that an LF may still follow that belongs to it.
    pub fn after_cr(&self) -> bool {
        let Scanner::Events(scanner) = &self.scanner else { return false };
        self.buffer.len() == self.ready && scanner.after_cr()
    }

    /// Drops the incomplete event that is held back; a half-forwarded one cannot be repaired.
    pub fn drop_incomplete(&mut self) {
        self.buffer.truncate(self.ready);
        self.scanned = self.ready;
    }

    /// The block of lines that is open, as far as it is there; of one that is too large to hold back, the rest that came last.
    pub fn open_block(&self) -> &[u8] {
        let block = &self.buffer[self.open.min(self.buffer.len())..];
        if self.is_first { without_bom(block) } else { block }
    }

    /// The line ends that would complete an event here; `lines`: how many.
    pub fn line_ends(&self, lines: usize) -> &'static [u8] {
        match (&self.scanner, lines) {
            // After a bare CR, an LF would only complete a CRLF: the blank line takes a CR of its own.
            (Scanner::Events(scanner), 1) if scanner.after_cr() => b"\r",
            (Scanner::Events(scanner), 2) if scanner.uses_bare_cr() => b"\r\r",
            (_, 2) => b"\n\n",
            _ => b"\n",
        }
    }

    /// Adds bytes of our own after whole events.
    pub fn append_own(&mut self, bytes: &[u8]) {
        self.append(bytes);
        (self.scanned, self.open, self.ready) = (self.buffer.len(), self.buffer.len(), self.buffer.len());
    }

    /// Lets what is held back be written as it is.
    pub fn release_incomplete(&mut self) {
        self.ready = self.buffer.len();
    }

    /// Events (blocks with data) completed so far.
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
    fn lines_are_held_back_until_they_are_whole() {
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
    fn what_is_no_stream_is_ready_as_it_comes() {
        let mut rechunker = Rechunker::new(Format::Opaque, 1);
        rechunker.push(b"data: a\n\nb", |_| {});
        assert_eq!((rechunker.ready(), rechunker.events()), (&b"data: a\n\nb"[..], 0));
    }

    #[test]
    fn a_comment_between_events_waits_for_nothing_but_its_line() {
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
    fn a_bare_cr_stream_waits_for_nothing() {
        let mut rechunker = events(1024);
        rechunker.push(b"data: a\r\r", |_| {});
        assert!(!rechunker.awaits_lf());
        assert_eq!(rechunker.ready(), b"data: a\r\r");
    }

    #[test]
    fn a_missing_line_end_is_of_the_kind_that_the_stream_has() {
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
    fn blocks_are_shown_whole_and_large_ones_in_parts() {
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
