//! Undoes content codings (RFC 9110, 8.4) piece by piece, with bounded memory. Sans-IO.

use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::zstd::params::DParameter;
use compression_codecs::{BrotliDecoder, DecodeV2, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};

/// A window of 8 MiB is what a decoder of `zstd` must have and an encoder may use (RFC 9659, 3).
const ZSTD_WINDOW_LOG: u32 = 23;

/// A content coding that can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentCoding {
    Gzip,
    /// The zlib format; the bare one, which some senders take the name for, is told apart by its first byte.
    Deflate,
    Brotli,
    Zstd,
}

impl ContentCoding {
    /// The coding of this name (RFC 9110, 8.4.1).
    pub fn named(name: &[u8]) -> Option<Self> {
        const NAMES: [(&str, ContentCoding); 5] = [
            ("gzip", ContentCoding::Gzip),
            ("x-gzip", ContentCoding::Gzip),
            ("deflate", ContentCoding::Deflate),
            ("br", ContentCoding::Brotli),
            ("zstd", ContentCoding::Zstd),
        ];
        let name = name.trim_ascii();
        NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes())).map(|(_, coding)| *coding)
    }

    /// Whether an encoded text may begin with this byte. libzstd also reads the formats from before its standard, which
    /// nobody sends and nobody should make us read.
    fn may_begin_with(self, first: u8) -> bool {
        match self {
            // The first byte of the magic number of a frame, or of a skippable one (RFC 8878, 3.1).
            Self::Zstd => matches!(first, 0x28 | 0x50..=0x5F),
            Self::Gzip | Self::Deflate | Self::Brotli => true,
        }
    }

    fn is_zlib(self) -> bool {
        matches!(self, Self::Gzip | Self::Deflate)
    }

    /// Whether several encoded texts may follow each other (RFC 1952, 2.2; RFC 8878, 3).
    fn is_repeatable(self) -> bool {
        matches!(self, Self::Gzip | Self::Zstd)
    }
}

/// The bytes are not what their coding says.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the body is not encoded as its Content-Encoding says")]
pub struct Corrupt;

/// Decodes one body.
pub struct Decoder {
    coding: ContentCoding,
    /// Chosen when the first byte is there.
    codec: Option<Box<dyn DecodeV2 + Send>>,
    input: Vec<u8>,
    /// Bytes of `input` that are decoded.
    read: usize,
    /// The last call filled all the room it had, so there may be more.
    is_full: bool,
    has_ended: bool,
    /// What follows cannot be decoded.
    is_corrupt: bool,
}

impl Decoder {
    pub fn new(coding: ContentCoding) -> Self {
        Self {
            coding,
            codec: None,
            input: Vec::new(),
            read: 0,
            is_full: false,
            has_ended: false,
            is_corrupt: false,
        }
    }

    /// Takes the next bytes of the encoded body.
    pub fn push(&mut self, bytes: &[u8]) {
        self.input.drain(..self.read);
        self.read = 0;
        self.input.extend_from_slice(bytes);
    }

    /// Whether [`Self::decode`] may have something without more input.
    pub fn has_more(&self) -> bool {
        self.is_full || self.is_corrupt || self.read < self.input.len()
    }

    /// Decodes as much as there is room for; returns how many bytes that gave. All that can be known from the input so
    /// far comes out, so a sender that flushes after each event has each event decoded.
    pub fn decode(&mut self, room: &mut [u8]) -> Result<usize, Corrupt> {
        if self.is_corrupt {
            return Err(Corrupt);
        }
        let rest = &self.input[self.read..];
        let codec = match (&mut self.codec, rest.first()) {
            (Some(_), None) if self.has_ended => {
                self.is_full = false;
                return Ok(0);
            }
            (Some(codec), Some(first)) if self.has_ended => {
                if !self.coding.is_repeatable() || !self.coding.may_begin_with(*first) {
                    return Err(Corrupt);
                }
                codec.reinit().map_err(|_| Corrupt)?;
                codec
            }
            (Some(codec), _) => codec,
            (None, Some(first)) if self.coding.may_begin_with(*first) => {
                self.codec.insert(codec(self.coding, *first))
            }
            (None, Some(_)) => return Err(Corrupt),
            (None, None) => return Ok(0),
        };
        let has_room = !room.is_empty();
        let (mut input, mut output) = (PartialBuffer::new(rest), WriteBuffer::new_initialized(room));
        // zlib calls it an error to be asked without input for what it still has.
        let decoded = if rest.is_empty() && self.coding.is_zlib() {
            codec.flush(&mut output).map(|_| false)
        } else {
            codec.decode(&mut input, &mut output)
        };
        let (taken, given) = (input.written_len(), output.written_len());
        match decoded {
            Ok(has_ended) => self.has_ended = has_ended,
            Err(_) if given == 0 => return Err(Corrupt),
            // What came before it is whole.
            Err(_) => {
                self.is_corrupt = true;
                return Ok(given);
            }
        }
        self.is_full = output.has_no_spare_space();
        let is_stuck = has_room && taken == 0 && given == 0 && !rest.is_empty() && !self.has_ended;
        self.read += taken;
        if is_stuck { Err(Corrupt) } else { Ok(given) }
    }

    /// Takes the end of the encoded body; returns whether it may end here. To be called when there [is no
    /// more](Self::has_more).
    pub fn finish(&mut self) -> bool {
        match &mut self.codec {
            None => self.input.is_empty(),
            Some(_) if self.has_ended => true,
            // A flush does not tell that it came upon the end.
            Some(codec) if self.coding.is_zlib() => {
                let mut room = [0; 1];
                let mut output = WriteBuffer::new_initialized(&mut room[..]);
                codec.decode(&mut PartialBuffer::new(&[][..]), &mut output).unwrap_or(false)
            }
            Some(_) => false,
        }
    }
}

fn codec(coding: ContentCoding, first: u8) -> Box<dyn DecodeV2 + Send> {
    match coding {
        ContentCoding::Gzip => Box::new(GzipDecoder::new()),
        // CM is 8 and CINFO at most 7 in a zlib header (RFC 1950, 2.2).
        ContentCoding::Deflate if first & 0x0F == 8 && first >> 4 <= 7 => Box::new(ZlibDecoder::new()),
        ContentCoding::Deflate => Box::new(DeflateDecoder::new()),
        ContentCoding::Brotli => Box::new(BrotliDecoder::new()),
        ContentCoding::Zstd => {
            Box::new(ZstdDecoder::new_with_params(&[DParameter::window_log_max(ZSTD_WINDOW_LOG)]))
        }
    }
}
