//! Decodes content codings (RFC 9110, 8.4) incrementally and with bounded memory. Sans-IO.

use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::zstd::params::DParameter;
use compression_codecs::{BrotliDecoder, DecodeV2, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};

/// log2 of the largest zstd window: 8 MiB, which decoders must support and encoders must not exceed (RFC 9659, 3).
const ZSTD_WINDOW_LOG: u32 = 23;

/// A content coding that can be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentCoding {
    /// `gzip`, `x-gzip`.
    Gzip,
    /// `deflate`: the zlib format. Some senders use raw deflate instead; the first byte distinguishes them.
    Deflate,
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstd,
}

impl ContentCoding {
    /// The coding with this name, in any case (RFC 9110, 8.4.1). `None`: it is not supported.
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

    /// Whether encoded data may begin with this byte. libzstd also decodes its pre-standard formats. Nothing sends them
    /// today, so they are refused to keep the attack surface small.
    fn may_begin_with(self, first: u8) -> bool {
        match self {
            // The first byte of the magic number of a frame or a skippable frame (RFC 8878, 3.1).
            Self::Zstd => matches!(first, 0x28 | 0x50..=0x5F),
            Self::Gzip | Self::Deflate | Self::Brotli => true,
        }
    }

    fn is_zlib(self) -> bool {
        matches!(self, Self::Gzip | Self::Deflate)
    }

    /// Whether a body may consist of several concatenated members or frames (RFC 1952, 2.2; RFC 8878, 3).
    fn is_repeatable(self) -> bool {
        matches!(self, Self::Gzip | Self::Zstd)
    }
}

/// The body is not valid in its content coding.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the body is not encoded as its Content-Encoding says")]
pub struct Corrupt;

/// Decodes the body of one message.
pub struct Decoder {
    coding: ContentCoding,
    /// Set when the first byte arrives, because that byte may decide the format.
    codec: Option<Box<dyn DecodeV2 + Send>>,
    input: Vec<u8>,
    /// Length of the decoded prefix of `input`.
    read: usize,
    /// The last call filled its output buffer, so the codec may hold more output.
    is_full: bool,
    /// The last member or frame is complete.
    has_ended: bool,
    /// The rest of the body cannot be decoded.
    is_corrupt: bool,
}

impl Decoder {
    /// A decoder for one body in this coding.
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

    /// Appends the next bytes of the encoded body.
    pub fn push(&mut self, bytes: &[u8]) {
        self.input.drain(..self.read);
        self.read = 0;
        self.input.extend_from_slice(bytes);
    }

    /// Whether [`Self::decode`] may return output without further input.
    pub fn has_more(&self) -> bool {
        self.is_full || self.is_corrupt || self.read < self.input.len()
    }

    /// Decodes into `room` and returns the number of bytes written. The codec never holds back output that the input
    /// determines: if the sender flushes after each event, each event is decoded at once.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] if the input is invalid. Output from before the invalid part is returned first.
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
        // With empty input zlib returns an error even if it still holds output, so flush it instead.
        let decoded = if rest.is_empty() && self.coding.is_zlib() {
            codec.flush(&mut output).map(|_| false)
        } else {
            codec.decode(&mut input, &mut output)
        };
        let (taken, given) = (input.written_len(), output.written_len());
        match decoded {
            Ok(has_ended) => self.has_ended = has_ended,
            Err(_) if given == 0 => return Err(Corrupt),
            // The output before the error is valid.
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

    /// Ends the encoded body and returns whether it is complete. Call it only when [`Self::has_more`] is false.
    pub fn finish(&mut self) -> bool {
        match &mut self.codec {
            None => self.input.is_empty(),
            Some(_) if self.has_ended => true,
            // A flush does not report the end of the data, so ask the codec once more.
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
        // In a zlib header, CM is 8 and CINFO is at most 7 (RFC 1950, 2.2).
        ContentCoding::Deflate if first & 0x0F == 8 && first >> 4 <= 7 => Box::new(ZlibDecoder::new()),
        ContentCoding::Deflate => Box::new(DeflateDecoder::new()),
        ContentCoding::Brotli => Box::new(BrotliDecoder::new()),
        ContentCoding::Zstd => {
            Box::new(ZstdDecoder::new_with_params(&[DParameter::window_log_max(ZSTD_WINDOW_LOG)]))
        }
    }
}
