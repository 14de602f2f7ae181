//! A chunk as it goes over HTTP/1.1 (RFC 9112, 7.1). Sans-IO.

use super::Fields;

/// What ends a body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What ends a body with these trailers.
pub fn last_chunk(trailers: &Fields) -> Vec<u8> {
    let mut wire = b"0\r\n".to_vec();
    trailers.write_to(&mut wire);
    wire
}

/// Bytes that the line with the size takes at most.
const LINE: usize = 18;

/// The chunk that carries a piece of a body; nothing of it is copied.
pub struct Chunk<'a> {
    /// From `begin` on.
    line: [u8; LINE],
    begin: usize,
    data: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// `data`: must not be empty, because an empty chunk ends the body.
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

    pub fn data(&self) -> &[u8] {
        self.data
    }

    /// What goes over the wire, in its order.
    pub fn pieces(&self) -> [&[u8]; 3] {
        [&self.line[self.begin..], self.data, b"\r\n"]
    }

    /// Likewise, with the end of the body after it.
    pub fn last_pieces(&self) -> [&[u8]; 3] {
        [&self.line[self.begin..], self.data, b"\r\n0\r\n\r\n"]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_in_hexadecimal_digits_without_zeros_before_them() {
        for (length, line) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (0x1f_40a0, "1f40a0\r\n")] {
            let data = vec![b'x'; length];
            assert_eq!(Chunk::of(&data).pieces(), [line.as_bytes(), &data, b"\r\n"]);
        }
    }
}
