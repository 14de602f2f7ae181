//! The body of a response as it is read. Decodes the content coding of a stream.

use std::task::{Context, Poll, ready};

use crate::content_coding::{ContentCoding, Decoder};
use crate::outcome::{Failure, Fault};
use crate::upstream::{BodyProgress, Connection};

/// Size of the decoding buffer, in bytes.
const ROOM: usize = 16 * 1024;

/// An upstream connection whose response body is being read.
pub struct Body {
    pub connection: Connection,
    decoding: Option<Box<Decoding>>,
}

struct Decoding {
    decoder: Decoder,
    room: [u8; ROOM],
    /// Whether the encoded body has ended.
    is_read: bool,
}

impl Body {
    pub fn new(connection: Connection) -> Self {
        Self { connection, decoding: None }
    }

    /// Decodes the body from now on, if `coding` is set.
    pub fn decode(&mut self, coding: Option<ContentCoding>) {
        self.decoding = coding.map(|coding| {
            Box::new(Decoding { decoder: Decoder::new(coding), room: [0; ROOM], is_read: false })
        });
    }

    /// State that an event needs; see `RunningRelay::touch`.
    #[inline]
    pub fn touch(&self) -> (bool, bool) {
        (self.decoding.is_some(), self.connection.touch())
    }

    /// Reads available data into `sink`: one read from the connection, or a bounded amount of decoded data.
    /// Cancel-safe.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<BodyProgress, Fault>> {
        let Some(decoding) = self.decoding.as_deref_mut() else {
            return self.connection.poll_read_body(cx, sink);
        };
        let Decoding { decoder, room, is_read } = decoding;
        while !decoder.has_more() {
            if *is_read {
                let may_end = decoder.finish();
                return Poll::Ready(if may_end {
                    Ok(BodyProgress::End)
                } else {
                    Err(Failure::Truncated.into())
                });
            }
            let progress = ready!(self.connection.poll_read_body(cx, &mut |bytes| decoder.push(bytes)))?;
            *is_read = progress == BodyProgress::End;
        }
        let decoded = decoder.decode(room).map_err(|_| Failure::Invalid)?;
        sink(&room[..decoded]);
        Poll::Ready(Ok(BodyProgress::More))
    }
}
