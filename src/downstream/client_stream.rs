//! A client connection as h2 reads and writes it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::TrailerCounts;
use super::trailers::TrailerWatch;
use super::{ClientWire, HTTP2_PREFACE, Link};

/// Length of a frame header (RFC 9113, 4.1).
const FRAME_HEAD: usize = 9;
/// The header of the required first frame after its length: SETTINGS without flags, on stream 0 (RFC 9113,
/// 6.5).
const SETTINGS: [u8; 6] = [4, 0, 0, 0, 0, 0];

#[derive(Debug)]
pub struct ClientStream {
    /// Bytes that were read to detect the protocol.
    begun: BytesMut,
    wire: ClientWire,
    trailers: TrailerWatch,
    trailer_counts: TrailerCounts,
}

impl ClientStream {
    /// `begun` holds the bytes that were already read from the connection.
    pub fn new(wire: ClientWire, begun: BytesMut) -> Self {
        let trailer_counts = TrailerCounts::default();
        Self { begun, wire, trailers: TrailerWatch::new(trailer_counts.clone()), trailer_counts }
    }

    /// The numbers of trailer fields of its streams, as far as they have been read.
    pub fn trailer_counts(&self) -> TrailerCounts {
        self.trailer_counts.clone()
    }

    /// The socket below.
    pub fn link(&self) -> &Arc<Link> {
        self.wire.link()
    }

    /// Whether the connection begins as required, with the preface and then SETTINGS. h2 does not check for
    /// SETTINGS (RFC 9113, 3.4). The bytes read for this check are buffered for h2.
    pub async fn begins_with_settings(&mut self) -> bool {
        let Self { begun, wire, .. } = self;
        while begun.len() < HTTP2_PREFACE.len() + FRAME_HEAD {
            if !matches!(wire.read_buf(begun).await, Ok(1..)) {
                break;
            }
        }
        let frame = begun.get(HTTP2_PREFACE.len()..HTTP2_PREFACE.len() + FRAME_HEAD);
        begun.starts_with(HTTP2_PREFACE) && frame.is_some_and(|head| head[3..] == SETTINGS)
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { begun, wire, trailers, .. } = &mut *self;
        let before = buf.filled().len();
        if begun.is_empty() {
            ready!(Pin::new(wire).poll_read(cx, buf))?;
        } else {
            let length = begun.len().min(buf.remaining());
            buf.put_slice(&begun.split_to(length));
            if begun.is_empty() {
                *begun = BytesMut::new();
            }
        }
        trailers.push(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wire.poll_write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.poll_shutdown(cx)
    }
}
