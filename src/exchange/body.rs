//! The body of a response as it is read: a stream in a content coding is decoded on the way.

use std::task::{Context, Poll, ready};

use crate::content_coding::{ContentCoding, Decoder};
use crate::outcome::{Failure, Fault};
use crate::upstream::{BodyProgress, Connection};

/// Bytes that are decoded at once.
const ROOM: usize = 16 * 1024;

/// The upstream connection whose response's body is being read.
pub struct Body {
    pub connection: Connection,
    decoding: Option<Box<Decoding>>,
}

struct Decoding {
    decoder: Decoder,
    room: [u8; ROOM],
    /// Nothing more comes over the connection.
    is_read: bool,
}

impl Body {
    pub fn new(connection: Connection) -> Self {
        Self { connection, decoding: None }
    }

    /// Has it decoded from now on, if there is a coding.
    pub fn decode(&mut self, coding: Option<ContentCoding>) {
        self.decoding = coding.map(|coding| {
            Box::new(Decoding { decoder: Decoder::new(coding), room: [0; ROOM], is_read: false })
        });
    }

    /// A little of what an event needs.
    #[inline]
    pub fn touch(&self) -> (bool, bool) {
        (self.decoding.is_some(), self.connection.touch())
    }

    /// Reads what is there into `sink`: one read of the connection, or a bounded part of what that decodes to. Nothing is lost
    /// if it is not called again.
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
