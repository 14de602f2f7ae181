//! Decodes chunked bodies (RFC 9112, 7.1). Sans-IO.

use super::body::clamp;
use super::validate::{is_tchar, is_value_byte};
use super::{Malformed, TrailerLines};

/// The most bytes of a size line after the size itself. Extensions are ignored.
const MAX_EXTENSION: usize = 8 * 1024;
/// The most digits of a chunk size, leading zeros included.
const MAX_DIGITS: u8 = 64;
/// The most digits of a chunk size that the fast path reads: chunks below 4 GiB.
const MAX_LEAP: usize = 8;
/// The most bytes of all trailers together.
const MAX_TRAILERS: usize = 64 * 1024;

/// The position of the next byte in a chunked body. The names follow the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunked {
    /// In the size of a chunk, after this number of digits.
    Size {
        size: u64,
        digits: u8,
    },
    /// Between the size and an extension or the line end. `length`: bytes since the size (RFC 9112, 7.1.1).
    AfterSize {
        size: u64,
        length: usize,
    },
    /// In an extension. `length`: bytes since the size.
    Extension {
        size: u64,
        length: usize,
        quoted: Quoted,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// At the beginning of a line after the last chunk. `length`: bytes of trailers so far, line ends excluded.
    Trailer {
        length: usize,
    },
    TrailerName {
        length: usize,
    },
    TrailerValue {
        length: usize,
    },
    TrailerLf {
        length: usize,
    },
    /// Before the LF of the empty line that ends the body.
    LastLf,
}

/// The position of the next byte relative to a quoted string in an extension (RFC 9110, 5.6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quoted {
    /// Outside of a quoted string.
    No,
    /// Inside.
    Yes,
    /// Inside, after a backslash.
    Escape,
}

impl Quoted {
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::No, b'"') | (Self::Escape, _) => Self::Yes,
            (Self::Yes, b'"') => Self::No,
            (Self::Yes, b'\\') => Self::Escape,
            (quoted, _) => quoted,
        }
    }
}

/// The state before the size of a chunk.
pub const NEXT_CHUNK: Chunked = Chunked::Size { size: 0, digits: 0 };

impl Chunked {
    /// Decodes `input` and passes the content to `sink`. Returns the number of bytes consumed, and whether the body
    /// ended with them. Trailers are dropped.
    pub fn decode(&mut self, input: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<(usize, bool), Malformed> {
        self.take(input, sink, None)
    }

    /// Like [`Self::decode`], but keeps the trailers.
    #[cold]
    pub fn decode_with_trailers(
        &mut self,
        input: &[u8],
        sink: &mut dyn FnMut(&[u8]),
        trailers: &mut TrailerLines,
    ) -> Result<(usize, bool), Malformed> {
        self.take(input, sink, Some(trailers))
    }

    // Inlined into both callers, so that `decode` has no code for trailers.
    #[inline(always)]
    fn take(
        &mut self,
        input: &[u8],
        sink: &mut dyn FnMut(&[u8]),
        mut trailers: Option<&mut TrailerLines>,
    ) -> Result<(usize, bool), Malformed> {
        let mut at = 0;
        while let Some(&byte) = input.get(at) {
            if let Self::Data { left } = *self {
                let taken = clamp(left, input.len() - at);
                sink(&input[at..at + taken]);
                at += taken;
                *self = match left - taken as u64 {
                    0 if input[at..].starts_with(b"\r\n") => {
                        at += 2;
                        NEXT_CHUNK
                    }
                    0 => Self::DataCr,
                    left => Self::Data { left },
                };
                continue;
            }
            if *self == NEXT_CHUNK
                && let Some((size, length)) = size_line(&input[at..])
            {
                *self = Self::Data { left: size };
                at += length;
                continue;
            }
            at += 1;
            let is_in_line = matches!(self, Self::TrailerLf { .. });
            *self = match self.step(byte)? {
                Some(next) => next,
                None => return Ok((at, true)),
            };
            if let Some(trailers) = &mut trailers
                && (is_in_line || self.is_in_trailer())
            {
                trailers.push(byte);
            }
        }
        Ok((at, false))
    }

    fn is_in_trailer(self) -> bool {
        matches!(self, Self::TrailerName { .. } | Self::TrailerValue { .. } | Self::TrailerLf { .. })
    }

    /// Handles a byte outside of the data. `None`: the body ends with it.
    #[inline(always)]
    fn step(self, byte: u8) -> Result<Option<Self>, Malformed> {
        let next = match (self, byte) {
            (Self::Size { size, digits }, _) => return size_byte(size, digits, byte).map(Some),
            // A CR inside a quoted string is rejected: some parsers would take the string, and so the line, to continue.
            (Self::AfterSize { size, .. } | Self::Extension { size, quoted: Quoted::No, .. }, b'\r') => {
                Self::SizeLf { size }
            }
            (Self::AfterSize { length, .. } | Self::Extension { length, .. }, _)
                if length == MAX_EXTENSION =>
            {
                return Err(Malformed);
            }
            (Self::AfterSize { size, length }, b' ' | b'\t') => Self::AfterSize { size, length: length + 1 },
            (Self::AfterSize { size, length }, b';') => {
                Self::Extension { size, length: length + 1, quoted: Quoted::No }
            }
            (Self::Extension { size, length, quoted }, _) if is_value_byte(byte) => {
                Self::Extension { size, length: length + 1, quoted: quoted.after(byte) }
            }
            (Self::SizeLf { size: 0 }, b'\n') => Self::Trailer { length: 0 },
            (Self::SizeLf { size }, b'\n') => Self::Data { left: size },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => NEXT_CHUNK,
            (Self::Trailer { .. }, b'\r') => Self::LastLf,
            (Self::LastLf, b'\n') => return Ok(None),
            _ => return self.trailer_byte(byte).map(Some),
        };
        Ok(Some(next))
    }

    /// Handles a byte of a trailer, which has the grammar of a field (RFC 9112, 7.1.2).
    fn trailer_byte(self, byte: u8) -> Result<Self, Malformed> {
        match (self, byte) {
            (Self::TrailerLf { length }, b'\n') => Ok(Self::Trailer { length }),
            (Self::TrailerValue { length }, b'\r') => Ok(Self::TrailerLf { length }),
            (Self::Trailer { length } | Self::TrailerName { length } | Self::TrailerValue { length }, _)
                if length == MAX_TRAILERS =>
            {
                Err(Malformed)
            }
            (Self::Trailer { length } | Self::TrailerName { length }, _) if is_tchar(byte) => {
                Ok(Self::TrailerName { length: length + 1 })
            }
            (Self::TrailerName { length }, b':') => Ok(Self::TrailerValue { length: length + 1 }),
            (Self::TrailerValue { length }, _) if is_value_byte(byte) => {
                Ok(Self::TrailerValue { length: length + 1 })
            }
            _ => Err(Malformed),
        }
    }
}

/// Fast path: the size of a chunk and the length of its size line, if the line is complete and has no extension.
/// The last chunk, which has size 0, is left to the byte-by-byte path.
#[inline(always)]
fn size_line(input: &[u8]) -> Option<(u64, usize)> {
    let mut size = 0;
    for (digits, byte) in input.iter().enumerate().take(MAX_LEAP + 1) {
        if !byte.is_ascii_hexdigit() {
            return (size > 0 && input[digits..].starts_with(b"\r\n")).then_some((size, digits + 2));
        }
        size = (size << 4) | u64::from(hex_digit(*byte));
    }
    None
}

/// Handles a byte in the size of a chunk. At least one digit is required, so an empty line is not a last chunk.
fn size_byte(size: u64, digits: u8, byte: u8) -> Result<Chunked, Malformed> {
    let digit = match byte {
        _ if byte.is_ascii_hexdigit() && digits < MAX_DIGITS => hex_digit(byte),
        b' ' | b'\t' if digits > 0 => return Ok(Chunked::AfterSize { size, length: 0 }),
        b';' if digits > 0 => return Ok(Chunked::Extension { size, length: 0, quoted: Quoted::No }),
        b'\r' if digits > 0 => return Ok(Chunked::SizeLf { size }),
        _ => return Err(Malformed),
    };
    let size = size.checked_mul(16).and_then(|size| size.checked_add(digit.into())).ok_or(Malformed)?;
    Ok(Chunked::Size { size, digits: digits + 1 })
}

/// The value of a hexadecimal digit.
fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::BodyDecoder;
    use super::*;

    /// Decodes in pieces of these lengths. Returns the content, the number of bytes left over, and whether the body ended.
    fn decode(
        mut decoder: BodyDecoder,
        input: &[u8],
        pieces: &[usize],
    ) -> Result<(Vec<u8>, usize, bool), Malformed> {
        let (mut content, mut rest) = (Vec::new(), input);
        for piece in pieces.iter().copied().chain(std::iter::repeat(usize::MAX)) {
            let piece = &rest[..piece.min(rest.len())];
            let taken = decoder.decode(piece, &mut |bytes| content.extend_from_slice(bytes))?;
            rest = &rest[taken..];
            if decoder.is_ended() || rest.is_empty() {
                break;
            }
        }
        Ok((content, rest.len(), decoder.is_ended()))
    }

    fn whole(input: &[u8]) -> Result<(Vec<u8>, usize, bool), Malformed> {
        decode(BodyDecoder::chunked(), input, &[])
    }

    #[test]
    fn only_the_data_of_chunks_is_content() {
        let body = b"3\r\nabc\r\n1;x=\"y\"\r\nd\r\n02 \t\r\nef\r\n0\r\nA: b\r\n\r\nHTTP/1.1";
        assert_eq!(whole(body), Ok((b"abcdef".to_vec(), 8, true)));
        assert_eq!(whole(b"3\r\nab"), Ok((b"ab".to_vec(), 0, false)));
    }

    #[test]
    fn invalid_chunks_are_rejected() {
        for body in [
            "\r\n",
            "g\r\n",
            ";\r\n",
            " 3\r\nabc\r\n",
            "3\nabc\r\n",
            "3\r\nabcd\r\n",
            "3\r\nabc\n",
            "3 3\r\n",
            "3\r\rabc",
            "10000000000000000\r\n",
            "0\r\n\n",
            "0\r\nA: b\n\r\n",
            "3;\nabc",
            "3;a=\"b\r\nabc\r\n",
            "3;a=\"b\\\"\r\nabc\r\n",
            "-1\r\n",
            "0x3\r\n",
        ] {
            assert_eq!(whole(body.as_bytes()), Err(Malformed), "{body:?}");
        }
        let endless = [&b"1;"[..], &[b'x'; MAX_EXTENSION + 1]].concat();
        assert_eq!(whole(&endless), Err(Malformed));
        let endless = [&b"0\r\n"[..], &b"a: b\r\n".repeat(MAX_TRAILERS)].concat();
        assert_eq!(whole(&endless), Err(Malformed));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..8),
            pieces in prop::collection::vec(1_usize..12, 0..60),
            noise in prop::collection::vec((0_usize..300, any::<u8>()), 0..3),
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\n\r\nnext");
            for (at, byte) in noise {
                let at = at % body.len();
                body[at] = byte;
            }
            prop_assert_eq!(decode(BodyDecoder::chunked(), &body, &pieces), whole(&body));
        }
    }
}
