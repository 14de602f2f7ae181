//! Counts the fields in trailers of HTTP/2 requests. Sans-IO.
//!
//! A pseudo-header field in trailers makes a request malformed (RFC 9113, 8.1), but h2 drops such a field
//! silently. So this module counts the fields in the frames before h2 reads them. If h2 returns fewer, some
//! were pseudo-header fields. It reads only the representation of each field (RFC 7541, 6) and decodes
//! nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Length of the connection preface (RFC 9113, 3.4).
const PREFACE: usize = 24;
/// Length of a frame header (RFC 9113, 4.1).
const FRAME_HEAD: usize = 9;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Maximum number of recorded streams. More than a connection may have open.
const MAX_NOTED: usize = 256;

/// Maximum number of bytes of a field block that are examined. A longer block counts as having more fields
/// than h2 ever returns.
const MAX_BLOCK: usize = 64 * 1024;

/// The number of trailer fields per stream. Shared by the connection and its streams.
#[derive(Clone, Debug, Default)]
pub struct TrailerCounts(Arc<Mutex<BTreeMap<u32, usize>>>);

impl TrailerCounts {
    fn insert(&self, stream: u32, count: usize) {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        streams.insert(stream, count);
        if streams.len() > MAX_NOTED {
            // The oldest entry belongs to a stream that has ended without reading its trailers.
            streams.pop_first();
        }
    }

    /// Removes and returns the number of trailer fields of a stream; `None` if it has no trailers.
    pub fn take(&self, stream: u32) -> Option<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&stream)
    }
}

/// Parses the frames of a connection.
#[derive(Debug)]
pub struct TrailerWatch {
    place: FramePlace,
    /// The highest stream identifier so far. A HEADERS frame on a stream up to it carries trailers.
    last_stream: u32,
    /// The field block of the current trailers, and their stream.
    block: Vec<u8>,
    stream: u32,
    counts: TrailerCounts,
}

/// The state of the parser.
#[derive(Debug)]
enum FramePlace {
    /// Skips this many bytes.
    Skip(usize),
    Head {
        bytes: [u8; FRAME_HEAD],
        length: usize,
    },
    /// In a frame that carries part of a trailer block; `left` bytes of it are still missing.
    Block {
        left: usize,
        flags: u8,
        kind: u8,
        begin: usize,
    },
}

const NEXT_FRAME: FramePlace = FramePlace::Head { bytes: [0; FRAME_HEAD], length: 0 };

impl TrailerWatch {
    pub fn new(counts: TrailerCounts) -> Self {
        Self { place: FramePlace::Skip(PREFACE), last_stream: 0, block: Vec::new(), stream: 0, counts }
    }

    /// Processes bytes that were read from the connection.
    pub fn push(&mut self, mut input: &[u8]) {
        while !input.is_empty() {
            let (place, taken) = match &mut self.place {
                FramePlace::Skip(left) => {
                    let taken = input.len().min(*left);
                    *left -= taken;
                    ((*left == 0).then_some(NEXT_FRAME), taken)
                }
                FramePlace::Head { bytes, length } => {
                    let taken = input.len().min(FRAME_HEAD - *length);
                    bytes[*length..*length + taken].copy_from_slice(&input[..taken]);
                    *length += taken;
                    let head = (*length == FRAME_HEAD).then_some(*bytes);
                    (head.map(|head| self.frame(head)), taken)
                }
                FramePlace::Block { left, flags, kind, begin } => {
                    let taken = input.len().min(*left);
                    *left -= taken;
                    let room = (MAX_BLOCK + 1).saturating_sub(self.block.len());
                    self.block.extend_from_slice(&input[..taken.min(room)]);
                    let (is_whole, flags, kind, begin) = (*left == 0, *flags, *kind, *begin);
                    (is_whole.then(|| self.end_frame(flags, kind, begin)), taken)
                }
            };
            input = &input[taken..];
            if let Some(place) = place {
                self.place = place;
            }
        }
    }

    /// Begins a frame.
    fn frame(&mut self, head: [u8; FRAME_HEAD]) -> FramePlace {
        let [a, b, c, kind, flags, stream @ ..] = head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
        let is_trailers = match kind {
            HEADERS => stream <= self.last_stream,
            CONTINUATION => stream == self.stream && stream > 0,
            _ => false,
        };
        if kind == HEADERS {
            self.last_stream = self.last_stream.max(stream);
            self.stream = if is_trailers { stream } else { 0 };
            self.block.clear();
        }
        let begin = self.block.len();
        match (is_trailers, length) {
            (true, 0) => self.end_frame(flags, kind, begin),
            (true, left) => FramePlace::Block { left, flags, kind, begin },
            (false, 0) => NEXT_FRAME,
            (false, length) => FramePlace::Skip(length),
        }
    }

    /// Ends a frame whose part of the block begins at `begin` of the buffer.
    fn end_frame(&mut self, flags: u8, kind: u8, begin: usize) -> FramePlace {
        if kind == HEADERS {
            let payload = self.block.split_off(begin);
            self.block.extend_from_slice(fragment(&payload, flags));
        }
        if flags & END_HEADERS != 0 {
            let is_whole = self.block.len() <= MAX_BLOCK;
            let count = if is_whole { count_fields(&self.block) } else { usize::MAX };
            self.counts.insert(self.stream, count);
            // Frees the buffer as well.
            (self.block, self.stream) = (Vec::new(), 0);
        }
        NEXT_FRAME
    }
}

/// The field block fragment in the payload of a HEADERS frame (RFC 9113, 6.2).
fn fragment(payload: &[u8], flags: u8) -> &[u8] {
    let (padding, rest) = match payload.split_first() {
        Some((padding, rest)) if flags & PADDED != 0 => (usize::from(*padding), rest),
        _ => (0, payload),
    };
    let rest = if flags & PRIORITY != 0 { rest.get(5..).unwrap_or_default() } else { rest };
    &rest[..rest.len().saturating_sub(padding)]
}

/// The number of fields in a block. Invalid data ends the count; h2 closes the connection then.
fn count_fields(mut block: &[u8]) -> usize {
    let mut count = 0;
    while let Some((is_field, rest)) = skip(block) {
        count += usize::from(is_field);
        block = rest;
    }
    count
}

/// Skips the representation at the start of the block. Returns whether it is a field, and the rest (RFC 7541,
/// 6.1 to 6.3).
fn skip(block: &[u8]) -> Option<(bool, &[u8])> {
    // The number of bits of the integer in the first byte, whether it is a field, and whether it is a
    // literal.
    let (bits, is_field, is_literal) = match block.first()? {
        0x80.. => (7, true, false),
        0x40..0x80 => (6, true, true),
        0x20..0x40 => (5, false, false),
        0x00..0x20 => (4, true, true),
    };
    let (index, mut rest) = integer(block, bits)?;
    if is_literal {
        let strings = if index == 0 { 2 } else { 1 };
        for _ in 0..strings {
            rest = string(rest)?;
        }
    }
    Some((is_field, rest))
}

/// Skips a string literal (RFC 7541, 5.2).
fn string(block: &[u8]) -> Option<&[u8]> {
    let (length, rest) = integer(block, 7)?;
    rest.get(usize::try_from(length).ok()?..)
}

/// Decodes an integer with a prefix of `bits` bits, and returns it with the rest (RFC 7541, 5.1).
fn integer(block: &[u8], bits: u32) -> Option<(u64, &[u8])> {
    let (first, mut rest) = block.split_first()?;
    let most = (1_u64 << bits) - 1;
    let mut number = u64::from(*first) & most;
    if number < most {
        return Some((number, rest));
    }
    let mut shift = 0;
    loop {
        let (byte, after) = rest.split_first()?;
        rest = after;
        number = number.checked_add(u64::from(byte & 0x7f).checked_shl(shift)?)?;
        if byte & 0x80 == 0 {
            return Some((number, rest));
        }
        shift += 7;
        // No valid index or length is longer.
        if shift > 28 {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// The number of trailer fields of stream 1, when the connection arrives in pieces of `size` bytes.
    fn count(trailers: &[Vec<u8>], size: usize) -> Option<usize> {
        let request = frame(HEADERS, END_HEADERS, 1, b"\x83\x84\x86");
        let data = frame(0, 0, 1, b"hello");
        let connection = [vec![b'P'; PREFACE], request, data, trailers.concat(), vec![0; 5]].concat();
        let counts = TrailerCounts::default();
        let mut watch = TrailerWatch::new(counts.clone());
        connection.chunks(size).for_each(|piece| watch.push(piece));
        counts.take(1)
    }

    #[test]
    fn fields_in_every_form_are_counted() {
        let whole = |block: &[u8]| vec![frame(HEADERS, END_HEADERS | 1, 1, block)];
        for (block, expected) in [
            // Indexed in either table; literal with an indexed name and with a literal name, also
            // Huffman-coded.
            (&b"\x84"[..], 1),
            (b"\xbe\xff\x80\x01", 2),
            (b"\x44\x01/\x04\x01/\x0f\x01\x01:", 3),
            (b"\x00\x05:path\x01/\x40\x84\xb9\x58\xd3\x3f\x01/\x10\x01x\x00", 3),
            // A dynamic table size update is not a field.
            (b"\x3f\xe1\x1f\x84", 1),
            (b"", 0),
            // Truncated.
            (b"\x84\x00\x05:pa", 1),
            (b"\x7f\xff\xff\xff\xff\xff\xff", 0),
        ] {
            for size in [1, 2, 7, 1000] {
                assert_eq!(count(&whole(block), size), Some(expected), "{block:?} in pieces of {size}");
            }
        }
        assert_eq!(count(&[], 3), None);
    }

    #[test]
    fn padding_priority_and_continuations_hide_nothing() {
        let padded = frame(HEADERS, END_HEADERS | PADDED | PRIORITY | 1, 1, b"\x02\0\0\0\0\0\x84\0\0");
        assert_eq!(count(&[padded], 3), Some(1));
        let cut = [frame(HEADERS, 1, 1, b"\x00\x05:p"), frame(CONTINUATION, END_HEADERS, 1, b"ath\x01/\x84")];
        assert_eq!(count(&cut, 5), Some(2));
        let empty = [frame(HEADERS, 1, 1, b"\x84"), frame(CONTINUATION, END_HEADERS, 1, b"")];
        assert_eq!(count(&empty, 5), Some(1));
        let padded = frame(HEADERS, END_HEADERS | PADDED | 1, 1, b"\x01\x00\x01x\x01y\x84");
        assert_eq!(count(&[padded], 4), Some(1));
    }

    #[test]
    fn a_block_that_is_too_long_counts_as_endless() {
        let frames = |length: usize| {
            let block = vec![0x84; length];
            let mut pieces: Vec<_> =
                block.chunks(16_000).map(|piece| frame(CONTINUATION, 0, 1, piece)).collect();
            pieces.insert(0, frame(HEADERS, 1, 1, b""));
            pieces.push(frame(CONTINUATION, END_HEADERS, 1, b"\x84"));
            pieces
        };
        assert_eq!(count(&frames(MAX_BLOCK - 1), 9999), Some(MAX_BLOCK));
        assert_eq!(count(&frames(MAX_BLOCK), 9999), Some(usize::MAX));
    }

    #[test]
    fn the_head_of_a_request_is_not_counted() {
        let counts = TrailerCounts::default();
        let mut watch = TrailerWatch::new(counts.clone());
        watch.push(&[b'P'; PREFACE]);
        for stream in [1, 3, 5] {
            watch.push(&frame(HEADERS, END_HEADERS, stream, b"\x83\x84\x86"));
            assert_eq!(counts.take(stream), None);
        }
    }

    proptest! {
        #[test]
        fn the_count_does_not_depend_on_how_frames_are_split(
            frames in prop::collection::vec(
                (0_u8..10, any::<u8>(), 0_u32..4, prop::collection::vec(any::<u8>(), 0..20)),
                0..12,
            ),
            size in 1_usize..30,
        ) {
            let frames = frames.iter().map(|(kind, flags, stream, payload)| frame(*kind, *flags, *stream, payload));
            let connection = [vec![b'P'; PREFACE], frames.flatten().collect()].concat();
            let noted = |pieces: &mut dyn Iterator<Item = &[u8]>| {
                let counts = TrailerCounts::default();
                let mut watch = TrailerWatch::new(counts.clone());
                pieces.for_each(|piece| watch.push(piece));
                [0, 1, 2, 3].map(|stream| counts.take(stream))
            };
            let whole = noted(&mut std::iter::once(&connection[..]));
            prop_assert_eq!(noted(&mut connection.chunks(size)), whole);
        }
    }
}
