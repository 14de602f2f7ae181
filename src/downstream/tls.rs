//! A client connection over TLS.
//!
//! Encrypted bytes that the socket does not accept stay in the TLS session until it is flushed, and callers
//! do not flush after each piece of a body. So this type flushes after each write. If the socket would block,
//! it flushes on the next read: the client is always polled for reading, to detect that it leaves.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{DownstreamSocket, Link};
use crate::net::pingora::{ServerConfig, ServerTlsStream, TlsAcceptor};

/// The ALPN protocol name of HTTP/2 (RFC 9113, 3.2).
const H2: &[u8] = b"h2";

/// A client connection after the TLS handshake.
#[derive(Debug)]
pub struct DownstreamTls {
    tls: ServerTlsStream<DownstreamSocket>,
    unflushed: bool,
}

impl DownstreamTls {
    /// Performs the TLS handshake.
    pub async fn accept(socket: DownstreamSocket, config: Arc<ServerConfig>) -> io::Result<Self> {
        let tls = TlsAcceptor::from(config).accept(socket).await?;
        Ok(Self { tls, unflushed: false })
    }

    /// Whether ALPN selected HTTP/2.
    pub fn speaks_http2(&self) -> bool {
        self.tls.get_ref().1.alpn_protocol() == Some(H2)
    }

    /// The socket below.
    pub fn link(&self) -> &Arc<Link> {
        self.tls.get_ref().0.link()
    }

    /// Reads, and flushes pending data.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // A write error is reported by the next write.
        let _ = self.poll_drain(cx);
        Pin::new(&mut self.tls).poll_read(cx, buf)
    }

    /// Writes after all earlier data has reached the socket, so that at most one write is buffered.
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

    /// Writes without blocking. Data that the socket does not accept [is flushed](Self::is_behind) with the
    /// next read.
    pub fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.poll_write_slices(&mut Context::from_waker(Waker::noop()), slices) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }

    /// Whether encrypted data is buffered that the socket has not accepted.
    pub fn is_behind(&self) -> bool {
        self.unflushed
    }

    /// Flushes buffered data.
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
