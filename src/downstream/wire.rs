//! What a client's protocol goes over: its socket, or TLS on it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::{DownstreamTls, Link};

/// Bytes that are written as one piece.
const SMALL: usize = 4096;

#[derive(Debug)]
pub enum ClientWire {
    Plain(Arc<Link>),
    Tls(Box<DownstreamTls>),
}

impl ClientWire {
    /// The socket, whatever goes over it.
    pub fn link(&self) -> &Arc<Link> {
        match self {
            Self::Plain(link) => link,
            Self::Tls(tls) => tls.link(),
        }
    }

    /// Whether what is written to the socket is what the client reads.
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Writes what is small, as one piece; returns how much of it was taken, which is nothing where it is not small.
    pub fn try_write(&mut self, pieces: &[&[u8]; 4]) -> io::Result<usize> {
        let length = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        match self {
            _ if length == 0 || length > SMALL => Ok(0),
            Self::Plain(link) => link.try_write_joined(pieces),
            Self::Tls(tls) => tls.try_write(&pieces.map(IoSlice::new)),
        }
    }

    /// Whether something that was written is not with the socket yet.
    pub fn is_behind(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.is_behind())
    }

    /// Writes what the connection takes now.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(link) => link.poll_write(cx, slices),
            Self::Tls(tls) => tls.poll_write_slices(cx, slices),
        }
    }

    /// Hands on what TLS has kept.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => tls.poll_drain(cx),
        }
    }

    /// Ends what is sent to the client; a connection that was severed ends by itself.
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
