//! Encodes chunks (RFC 9112, 7.1). Sans-IO.

use super::Fields;

/// The end of a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The end of a chunked body with these trailers.
pub fn last_chunk(trailers: &Fields) -> Vec<u8> {
    let mut wire = b"0\r\n".to_vec();
    trailers.write_to(&mut wire);
    wire
}

/// Bytes of the longest size line: 16 hexadecimal digits and CRLF.
const LINE: usize = 18;

/// The chunk for a piece of a body. Borrows the data.
pub struct Chunk<'a> {
    /// The size line, right-aligned: it starts at `begin`.
    line: [u8; LINE],
    begin: usize,
    data: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// The chunk for `data`, which must not be empty if [`Self::pieces`] is used: an empty chunk ends the body.
    pub fn of(data: &'a [u8]) -> Self {
        let mut line = *b"0000000000000000\r\n";
        let digits = 1 + data.len().max(1).ilog2() as usize / 4;
        let begin = LINE - 2 - digits;
        let mut left = data.len();
        for digit in line[begin..LINE - 2].iter_mut().rev() {
            *digit = b"0123456789abcdef"[left % 16];
            left /= 16;
        }
        Self { line, begin, data }
    }

    /// The data, without framing.
    pub fn data(&self) -> &[u8] {
        self.data
    }

    /// The bytes to send, in order.
    pub fn pieces(&self) -> [&[u8]; 3] {
        [&self.line[self.begin..], self.data, b"\r\n"]
    }

    /// The bytes to send, followed by the end of the body.
    pub fn last_pieces(&self) -> [&[u8]; 3] {
        [&self.line[self.begin..], self.data, b"\r\n0\r\n\r\n"]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_hexadecimal_without_leading_zeros() {
        for (length, line) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (0x1f_40a0, "1f40a0\r\n")] {
            let data = vec![b'x'; length];
            assert_eq!(Chunk::of(&data).pieces(), [line.as_bytes(), &data, b"\r\n"]);
        }
    }
}
