//! The frames of a WebSocket, as far as a proxy must know them (RFC 6455, 5.2): where one ends, and whether one closes. Sans-IO.
//!
//! Nothing of a frame is changed or kept. Extensions that are in use compress payloads, and leave heads and control frames as they are.

/// Bytes of a head: two, a length of up to eight, and a mask of four.
const MAX_HEAD: usize = 14;

/// The opcode of a frame that closes (RFC 6455, 5.5.1).
const CLOSE: u8 = 8;

/// Why a proxy ends a WebSocket: it goes away (RFC 6455, 7.4.1).
const GOING_AWAY: u16 = 1001;

/// A frame that closes, as a server writes it.
pub const CLOSE_TO_CLIENT: [u8; 4] = {
    let [high, low] = GOING_AWAY.to_be_bytes();
    [0x88, 2, high, low]
};

/// A frame that closes, as a client writes it: masked. Nothing in it could be mistaken for something else, so the mask is zero.
pub const CLOSE_TO_SERVER: [u8; 8] = {
    let [high, low] = GOING_AWAY.to_be_bytes();
    [0x88, 0x82, 0, 0, 0, 0, high, low]
};

/// Follows the frames of one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameWatch {
    head: [u8; MAX_HEAD],
    /// Bytes of the head so far.
    length: usize,
    /// Bytes of the payload that are still to come.
    payload: u64,
    has_closed: bool,
}

impl FrameWatch {
    /// Looks at what passes.
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

    /// The length that the head says, once the head is whole.
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

    /// Whether a whole frame has passed, or none yet, so that another one may be put there.
    pub fn is_between_frames(&self) -> bool {
        self.length == 0 && self.payload == 0
    }

    /// Whether a frame that closes has passed.
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
    fn only_a_frame_that_closes_is_one_whatever_is_in_others() {
        for is_masked in [false, true] {
            for length in [0, 1, 125, 126, 127, 65535, 65536] {
                let mut watch = FrameWatch::default();
                // Payloads that look like frames that close.
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
    fn what_we_write_closes() {
        for close in [&CLOSE_TO_CLIENT[..], &CLOSE_TO_SERVER] {
            let mut watch = FrameWatch::default();
            watch.push(close);
            assert!(watch.is_between_frames() && watch.has_closed());
        }
    }

    proptest! {
        #[test]
        fn any_split_of_any_bytes_gives_the_same(bytes in prop::collection::vec(any::<u8>(), 0..300), size in 1_usize..20) {
            let (mut whole, mut cut) = (FrameWatch::default(), FrameWatch::default());
            whole.push(&bytes);
            bytes.chunks(size).for_each(|piece| cut.push(piece));
            prop_assert_eq!((whole.payload, whole.length, whole.has_closed), (cut.payload, cut.length, cut.has_closed));
        }
    }
}
