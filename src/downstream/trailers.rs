//! Trailers of requests over HTTP/2 that hold pseudo-fields. Sans-IO.
//!
//! Such a request is malformed (RFC 9113, 8.1), and h2 drops those fields without a word, so the frames are looked at before it gets
//! them. Only the form of the fields is read (RFC 7541, 6) and nothing is decoded: what refers to the dynamic table is not
//! known here, and is dropped by h2 as before.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// What a client begins with, before its frames (RFC 9113, 3.4).
const PREFACE: usize = 24;
/// Bytes of the head of a frame (RFC 9113, 4.1).
const FRAME_HEAD: usize = 9;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// The last of the static table that is a pseudo-field (RFC 7541, appendix A).
const LAST_PSEUDO: u64 = 14;
/// The code of a colon, in the first bits of a name (RFC 7541, appendix B).
const COLON: u8 = 0b101_1100;

/// Streams that are noted at once: more than a connection may have open.
const MAX_NOTED: usize = 256;

/// Bytes of a block that are looked at; what is longer is h2's to refuse.
const MAX_BLOCK: usize = 64 * 1024;

/// The streams whose trailers are malformed. Shared with the streams themselves.
#[derive(Clone, Debug, Default)]
pub struct MalformedTrailers(Arc<Mutex<BTreeSet<u32>>>);

impl MalformedTrailers {
    fn insert(&self, stream: u32) {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        streams.insert(stream);
        if streams.len() > MAX_NOTED {
            // The oldest is over, or it would have been asked for.
            streams.pop_first();
        }
    }

    /// Whether those of this stream are; says so once.
    pub fn take(&self, stream: u32) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&stream)
    }
}

/// Follows the frames of a connection.
#[derive(Debug)]
pub struct TrailerWatch {
    place: Place,
    /// The highest stream that has begun: fields that come later on it are trailers.
    last_stream: u32,
    /// The block of trailers that is being received, and its stream.
    block: Vec<u8>,
    stream: u32,
    malformed: MalformedTrailers,
}

/// Where in the bytes the watch stands.
#[derive(Debug)]
enum Place {
    /// So many bytes are of no interest.
    Skip(usize),
    Head {
        bytes: [u8; FRAME_HEAD],
        length: usize,
    },
    /// In a frame with a piece of a block of trailers, of which so many bytes are still to come.
    Block {
        left: usize,
        flags: u8,
        kind: u8,
        begin: usize,
    },
}

const NEXT_FRAME: Place = Place::Head { bytes: [0; FRAME_HEAD], length: 0 };

impl TrailerWatch {
    pub fn new(malformed: MalformedTrailers) -> Self {
        Self { place: Place::Skip(PREFACE), last_stream: 0, block: Vec::new(), stream: 0, malformed }
    }

    /// Looks at what was read of the connection.
    pub fn push(&mut self, mut input: &[u8]) {
        while !input.is_empty() {
            let (place, taken) = match &mut self.place {
                Place::Skip(left) => {
                    let taken = input.len().min(*left);
                    *left -= taken;
                    ((*left == 0).then_some(NEXT_FRAME), taken)
                }
                Place::Head { bytes, length } => {
                    let taken = input.len().min(FRAME_HEAD - *length);
                    bytes[*length..*length + taken].copy_from_slice(&input[..taken]);
                    *length += taken;
                    let head = (*length == FRAME_HEAD).then_some(*bytes);
                    (head.map(|head| self.frame(head)), taken)
                }
                Place::Block { left, flags, kind, begin } => {
                    let taken = input.len().min(*left);
                    *left -= taken;
                    let room = MAX_BLOCK.saturating_sub(self.block.len());
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
    fn frame(&mut self, head: [u8; FRAME_HEAD]) -> Place {
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
        match is_trailers {
            true if length > 0 => Place::Block { left: length, flags, kind, begin: self.block.len() },
            _ if length > 0 => Place::Skip(length),
            _ => NEXT_FRAME,
        }
    }

    /// Ends a frame whose piece of a block begins at `begin` of what is kept.
    fn end_frame(&mut self, flags: u8, kind: u8, begin: usize) -> Place {
        if kind == HEADERS {
            let payload = self.block.split_off(begin);
            self.block.extend_from_slice(fragment(&payload, flags));
        }
        if flags & END_HEADERS != 0 {
            if has_pseudo_field(&self.block) {
                self.malformed.insert(self.stream);
            }
            // Not even the room for it is kept.
            (self.block, self.stream) = (Vec::new(), 0);
        }
        NEXT_FRAME
    }
}

/// The piece of a block that the payload of a HEADERS frame has (RFC 9113, 6.2).
fn fragment(payload: &[u8], flags: u8) -> &[u8] {
    let (padding, rest) = match payload.split_first() {
        Some((padding, rest)) if flags & PADDED != 0 => (usize::from(*padding), rest),
        _ => (0, payload),
    };
    let rest = if flags & PRIORITY != 0 { rest.get(5..).unwrap_or_default() } else { rest };
    &rest[..rest.len().saturating_sub(padding)]
}

/// Whether a block has a field whose name is one of the static table's pseudo-fields, or is written out and begins with a colon.
fn has_pseudo_field(mut block: &[u8]) -> bool {
    while let Some(&first) = block.first() {
        // How many bits of the first byte an index has, and whether a value follows (RFC 7541, 6.1 to 6.3).
        let (bits, is_literal) = match first {
            0x80.. => (7, false),
            0x40..0x80 => (6, true),
            0x20..0x40 => {
                let Some((_, rest)) = integer(block, 5) else { return false };
                block = rest;
                continue;
            }
            0x00..0x20 => (4, true),
        };
        let Some((index, rest)) = integer(block, bits) else { return false };
        if (1..=LAST_PSEUDO).contains(&index) {
            return true;
        }
        block = rest;
        if is_literal && index == 0 {
            let Some((is_pseudo, rest)) = name(block) else { return false };
            if is_pseudo {
                return true;
            }
            block = rest;
        }
        if is_literal {
            let Some((_, rest)) = string(block) else { return false };
            block = rest;
        }
    }
    false
}

/// Whether the name that the block begins with begins with a colon, and what follows it.
fn name(block: &[u8]) -> Option<(bool, &[u8])> {
    let is_huffman = block.first()? & 0x80 != 0;
    let (text, rest) = string(block)?;
    let first = text.first().copied().unwrap_or_default();
    let is_pseudo = if is_huffman { first >> 1 == COLON } else { first == b':' };
    Some((is_pseudo, rest))
}

/// The string that the block begins with, as it is encoded, and what follows it (RFC 7541, 5.2).
fn string(block: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = integer(block, 7)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

/// The number in the last bits of the first byte and those that follow, and what comes then (RFC 7541, 5.1).
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
        // More than that no index and no length has.
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

    /// Whether the trailers of stream 1 are malformed, if they come in these frames and the connection in pieces of this size.
    fn is_malformed(trailers: &[Vec<u8>], size: usize) -> bool {
        let request = frame(HEADERS, END_HEADERS, 1, b"\x83\x84\x86");
        let data = frame(0, 0, 1, b"hello");
        let connection = [vec![b'P'; PREFACE], request, data, trailers.concat(), vec![0; 5]].concat();
        let malformed = MalformedTrailers::default();
        let mut watch = TrailerWatch::new(malformed.clone());
        connection.chunks(size).for_each(|piece| watch.push(piece));
        malformed.take(1)
    }

    #[test]
    fn pseudo_fields_in_trailers_are_found_in_every_form() {
        let whole = |block: &[u8]| vec![frame(HEADERS, END_HEADERS | 1, 1, block)];
        for (block, expected) in [
            // Indexed, literal with an indexed name, and with one that is written out, plain and Huffman-coded (`:path`).
            (&b"\x84"[..], true),
            (b"\x44\x01/", true),
            (b"\x04\x01/", true),
            (b"\x00\x05:path\x01/", true),
            (b"\x40\x84\xb9\x58\xd3\x3f\x01/", true),
            // After another field, and after a change of the table's size.
            (b"\x00\x01x\x01y\x84", true),
            (b"\x3f\xe1\x1f\x84", true),
            // Ordinary fields, one with a colon in its value, one of the dynamic table.
            (b"\x00\x01x\x01:", false),
            (b"\x0f\x01\x01:", false),
            (b"\xbe", false),
            (b"", false),
            // Cut off.
            (b"\x00\x05:pa", false),
            (b"\x7f\xff\xff\xff\xff\xff\xff", false),
        ] {
            for size in [1, 2, 7, 1000] {
                assert_eq!(is_malformed(&whole(block), size), expected, "{block:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn padding_priority_and_continuations_hide_nothing() {
        let padded = frame(HEADERS, END_HEADERS | PADDED | PRIORITY | 1, 1, b"\x02\0\0\0\0\0\x84\0\0");
        assert!(is_malformed(&[padded], 3));
        let cut = [frame(HEADERS, 1, 1, b"\x00\x05:p"), frame(CONTINUATION, END_HEADERS, 1, b"ath\x01/")];
        assert!(is_malformed(&cut, 5));
        let harmless = frame(HEADERS, END_HEADERS | PADDED | 1, 1, b"\x01\x00\x01x\x01y\x84");
        assert!(!is_malformed(&[harmless], 4));
    }

    #[test]
    fn the_head_of_a_request_may_have_them() {
        let malformed = MalformedTrailers::default();
        let mut watch = TrailerWatch::new(malformed.clone());
        watch.push(&[b'P'; PREFACE]);
        for stream in [1, 3, 5] {
            watch.push(&frame(HEADERS, END_HEADERS, stream, b"\x83\x84\x86"));
            assert!(!malformed.take(stream));
        }
    }

    proptest! {
        #[test]
        fn any_split_of_any_frames_gives_the_same(
            frames in prop::collection::vec(
                (0_u8..10, any::<u8>(), 0_u32..4, prop::collection::vec(any::<u8>(), 0..20)),
                0..12,
            ),
            size in 1_usize..30,
        ) {
            let frames = frames.iter().map(|(kind, flags, stream, payload)| frame(*kind, *flags, *stream, payload));
            let connection = [vec![b'P'; PREFACE], frames.flatten().collect()].concat();
            let noted = |pieces: &mut dyn Iterator<Item = &[u8]>| {
                let malformed = MalformedTrailers::default();
                let mut watch = TrailerWatch::new(malformed.clone());
                pieces.for_each(|piece| watch.push(piece));
                [0, 1, 2, 3].map(|stream| malformed.take(stream))
            };
            let whole = noted(&mut std::iter::once(&connection[..]));
            prop_assert_eq!(noted(&mut connection.chunks(size)), whole);
        }
    }
}
