//! A client's connection over TLS.
//!
//! Encrypted bytes that the socket does not take at once stay in the TLS session until somebody flushes it, and nobody flushes
//! after each piece of a body. So it is done here: after each write, and, where that has to wait, with each read, because the
//! client is always being read from to notice that it leaves.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{DownstreamSocket, Link};
use crate::net::pingora::{ServerConfig, ServerTlsStream, TlsAcceptor};

/// ALPN's name of HTTP/2 (RFC 9113, 3.2).
const H2: &[u8] = b"h2";

/// A client's connection after its handshake.
#[derive(Debug)]
pub struct DownstreamTls {
    tls: ServerTlsStream<DownstreamSocket>,
    unflushed: bool,
}

impl DownstreamTls {
    /// Shakes hands.
    pub async fn accept(socket: DownstreamSocket, config: Arc<ServerConfig>) -> io::Result<Self> {
        let tls = TlsAcceptor::from(config).accept(socket).await?;
        Ok(Self { tls, unflushed: false })
    }

    /// Whether HTTP/2 was agreed on.
    pub fn speaks_http2(&self) -> bool {
        self.tls.get_ref().1.alpn_protocol() == Some(H2)
    }

    /// The socket below.
    pub fn link(&self) -> &Arc<Link> {
        self.tls.get_ref().0.link()
    }

    /// Reads; and hands on what waits for that.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // What is wrong with writing is told to whoever writes.
        let _ = self.poll_drain(cx);
        Pin::new(&mut self.tls).poll_read(cx, buf)
    }

    /// Writes once everything before is with the socket, so that no more than one write is ever kept here.
    pub fn poll_write_slices(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(cx))?;
        let written = ready!(Pin::new(&mut self.tls).poll_write_vectored(cx, slices))?;
        self.unflushed = true;
        let _ = self.poll_drain(cx)?;
        Poll::Ready(Ok(written))
    }

    /// Writes what the connection takes at once; what the socket does not take of that [waits](Self::is_behind) for the next read.
    pub fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.poll_write_slices(&mut Context::from_waker(Waker::noop()), slices) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }

    /// Whether something is kept here that the socket has not taken.
    pub fn is_behind(&self) -> bool {
        self.unflushed
    }

    /// Hands on what is kept here.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(Pin::new(&mut self.tls).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}
