//! Parses WebSocket frames as far as a proxy needs (RFC 6455, 5.2): where a frame ends, and whether it is a
//! close frame. Sans-IO.
//!
//! Frames are neither changed nor stored. Compression extensions change payloads only, not frame headers or
//! control frames.

/// Longest frame header: two bytes, a length of up to eight bytes and a mask of four.
const MAX_HEAD: usize = 14;

/// The opcode of a close frame (RFC 6455, 5.5.1).
const CLOSE: u8 = 8;

/// The status with which a proxy closes a WebSocket: going away (RFC 6455, 7.4.1).
const GOING_AWAY: u16 = 1001;

/// An unmasked close frame, as servers send it.
pub const CLOSE_TO_CLIENT: [u8; 4] = {
    let [high, low] = GOING_AWAY.to_be_bytes();
    [0x88, 2, high, low]
};

/// A masked close frame, as clients send it. The payload is fixed, so a zero mask is safe.
pub const CLOSE_TO_SERVER: [u8; 8] = {
    let [high, low] = GOING_AWAY.to_be_bytes();
    [0x88, 0x82, 0, 0, 0, 0, high, low]
};

/// Tracks the frames of one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameWatch {
    head: [u8; MAX_HEAD],
    /// Number of header bytes read so far.
    length: usize,
    /// Number of payload bytes still to come.
    payload: u64,
    has_closed: bool,
}

impl FrameWatch {
    /// Processes bytes that pass.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let passed = usize::try_from(self.payload).unwrap_or(usize::MAX).min(bytes.len());
                self.payload -= passed as u64;
                bytes = &bytes[passed..];
                continue;
            }
            self.head[self.length] = bytes[0];
            self.length += 1;
            bytes = &bytes[1..];
            if let Some(payload) = self.payload_of_head() {
                self.has_closed |= self.head[0] & 0x0f == CLOSE;
                (self.payload, self.length) = (payload, 0);
            }
        }
    }

    /// The payload length, once the header is complete.
    fn payload_of_head(&self) -> Option<u64> {
        let head = &self.head[..self.length];
        let second = head.get(1)?;
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let length = head.get(2..2 + extended)?;
        if head.len() < 2 + extended + mask {
            return None;
        }
        Some(match extended {
            0 => u64::from(second & 0x7f),
            _ => length.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        })
    }

    /// Whether the position is a frame boundary, where another frame can be inserted.
    pub fn is_between_frames(&self) -> bool {
        self.length == 0 && self.payload == 0
    }

    /// Whether a close frame has passed.
    pub fn has_closed(&self) -> bool {
        self.has_closed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(opcode: u8, is_masked: bool, payload: &[u8]) -> Vec<u8> {
        let mask = if is_masked { 0x80 } else { 0 };
        let length = match payload.len() {
            0..126 => vec![mask | payload.len() as u8],
            126..65536 => [&[mask | 126][..], &(payload.len() as u16).to_be_bytes()].concat(),
            _ => [&[mask | 127][..], &(payload.len() as u64).to_be_bytes()].concat(),
        };
        let key: &[u8] = if is_masked { &[1, 2, 3, 4] } else { &[] };
        [&[0x80 | opcode], &length[..], key, payload].concat()
    }

    #[test]
    fn only_a_close_frame_counts_as_close() {
        for is_masked in [false, true] {
            for length in [0, 1, 125, 126, 127, 65535, 65536] {
                let mut watch = FrameWatch::default();
                // Payloads that look like close frames.
                watch.push(&frame(2, is_masked, &vec![0x88; length]));
                assert!(watch.is_between_frames() && !watch.has_closed(), "{length}");
                watch.push(&frame(9, is_masked, b"ping"));
                assert!(watch.is_between_frames() && !watch.has_closed(), "{length}");
                watch.push(&frame(8, is_masked, b"\x03\xe8bye"));
                assert!(watch.is_between_frames() && watch.has_closed(), "{length}");
            }
        }
    }

    #[test]
    fn our_close_frames_are_valid() {
        for close in [&CLOSE_TO_CLIENT[..], &CLOSE_TO_SERVER] {
            let mut watch = FrameWatch::default();
            watch.push(close);
            assert!(watch.is_between_frames() && watch.has_closed());
        }
    }

    proptest! {
        #[test]
        fn the_result_does_not_depend_on_how_bytes_are_split(bytes in prop::collection::vec(any::<u8>(), 0..300), size in 1_usize..20) {
            let (mut whole, mut cut) = (FrameWatch::default(), FrameWatch::default());
            whole.push(&bytes);
            bytes.chunks(size).for_each(|piece| cut.push(piece));
            prop_assert_eq!((whole.payload, whole.length, whole.has_closed), (cut.payload, cut.length, cut.has_closed));
        }
    }
}
