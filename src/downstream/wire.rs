//! The transport of a client connection: its socket, or TLS over it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::{DownstreamTls, Link};

/// Largest write that is joined into one piece, in bytes.
const SMALL: usize = 4096;

#[derive(Debug)]
pub enum ClientWire {
    Plain(Arc<Link>),
    Tls(Box<DownstreamTls>),
}

impl ClientWire {
    /// The socket below.
    pub fn link(&self) -> &Arc<Link> {
        match self {
            Self::Plain(link) => link,
            Self::Tls(tls) => tls.link(),
        }
    }

    /// Whether the transport is unencrypted.
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Writes small data as one piece. Returns the number of bytes written, which is 0 if the data is not
    /// small.
    pub fn try_write(&mut self, pieces: &[&[u8]; 4]) -> io::Result<usize> {
        let length = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        match self {
            _ if length == 0 || length > SMALL => Ok(0),
            Self::Plain(link) => link.try_write_joined(pieces),
            Self::Tls(tls) => tls.try_write(&pieces.map(IoSlice::new)),
        }
    }

    /// Whether written data has not reached the socket yet.
    pub fn is_behind(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.is_behind())
    }

    /// Writes as much as the connection accepts now.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(link) => link.poll_write(cx, slices),
            Self::Tls(tls) => tls.poll_write_slices(cx, slices),
        }
    }

    /// Flushes what TLS has buffered.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => tls.poll_drain(cx),
        }
    }

    /// Shuts down the sending side. A severed connection sends no proper end.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(link) if link.is_severed() => Poll::Ready(Ok(())),
            Self::Plain(link) => Poll::Ready(link.shut_down()),
            Self::Tls(tls) => tls.poll_shutdown(cx),
        }
    }
}

impl AsyncRead for ClientWire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(link) => link.poll_read(cx, buf),
            Self::Tls(tls) => tls.poll_read(cx, buf),
        }
    }
}
