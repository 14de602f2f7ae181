//! Collects the trailers of a chunked body (RFC 9112, 7.1.2). Sans-IO.

use super::Fields;

/// The bytes of the trailers, which the decoder of the body has validated as fields.
#[derive(Debug, Default)]
pub struct TrailerLines(Vec<u8>);

impl TrailerLines {
    pub(super) fn push(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// The trailers received so far.
    pub fn fields(&self) -> Fields {
        let mut fields = Fields::default();
        for line in self.0.split(|byte| *byte == b'\n') {
            if let Some(colon) = line.iter().position(|byte| *byte == b':') {
                fields.append(&line[..colon], line[colon + 1..].trim_ascii());
            }
        }
        fields
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a panic fails the test")]
mod tests {
    use super::super::BodyDecoder;
    use super::*;

    #[test]
    fn trailers_are_kept_whatever_the_splits() {
        let body = b"3\r\nabc\r\n0\r\nA: b\r\nX-Empty:\r\na:\tc:d \r\n\r\nnext";
        for size in 1..body.len() {
            let (mut decoder, mut content, mut lines) =
                (BodyDecoder::chunked(), Vec::new(), TrailerLines::default());
            let taken = body.chunks(size).map(|piece| {
                let mut sink = |bytes: &[u8]| content.extend_from_slice(bytes);
                decoder.decode_with_trailers(piece, &mut sink, &mut lines).expect("a body")
            });
            assert_eq!(taken.sum::<usize>(), body.len() - 4, "in pieces of {size}");
            assert!(decoder.is_ended() && content == b"abc");
            let expected = [(&b"A"[..], &b"b"[..]), (b"X-Empty", b""), (b"a", b"c:d")];
            assert_eq!(lines.fields().iter().collect::<Vec<_>>(), expected);
        }
    }
}
