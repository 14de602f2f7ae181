//! A client's connection, as pingora reads and writes it.
//!
//! Unbuffered: a write is one system call, and nothing waits for a flush, except for what [`Link`] holds back.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::Link;
use super::proxy_header::ProxyHeader;

/// What an HTTP/2 client begins with (RFC 9113, 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes that are read at once to see how a client begins: most heads of requests fit, so that looking costs no read.
const FIRST_READ: usize = 4096;

/// Bytes that are copied to go out with what is held back.
const MAX_JOINED: usize = 32 * 1024;

/// A client's connection.
#[derive(Debug)]
pub struct DownstreamSocket {
    /// Read already, to see how the client begins.
    begun: BytesMut,
    link: Arc<Link>,
    digest: Arc<SocketDigest>,
}

impl DownstreamSocket {
    /// `link` has the socket.
    pub fn new(link: Arc<Link>) -> Self {
        let digest = Arc::new(SocketDigest::from_raw_fd(link.fd()));
        Self { begun: BytesMut::new(), link, digest }
    }

    /// Whether the client speaks HTTP/2 by prior knowledge. Reads as much as it takes to tell; all of it is read again by
    /// whoever reads next.
    pub async fn begins_with_http2(&mut self) -> io::Result<bool> {
        loop {
            let common = self.begun.len().min(HTTP2_PREFACE.len());
            if self.begun[..common] != HTTP2_PREFACE[..common] {
                return Ok(false);
            }
            if common == HTTP2_PREFACE.len() {
                return Ok(true);
            }
            self.begun.reserve(FIRST_READ);
            if self.read_more().await? == 0 {
                return Ok(false);
            }
        }
    }

    /// Reads the header of the PROXY protocol that must come first, and takes the client that it names for the peer.
    pub async fn read_proxy_header(&mut self) -> io::Result<()> {
        loop {
            if let Some(header) = ProxyHeader::read(&self.begun)? {
                self.begun.advance(header.length);
                if let Some(client) = header.client {
                    // Nobody has asked for it before.
                    let _ = self.digest.peer_addr.set(Some(client.into()));
                }
                return Ok(());
            }
            self.begun.reserve(FIRST_READ);
            if self.read_more().await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn read_more(&mut self) -> io::Result<usize> {
        let Self { link, begun, .. } = self;
        Unread(link).read_buf(begun).await
    }
}

/// Reads a socket for the first time.
struct Unread<'a>(&'a Link);

impl AsyncRead for Unread<'_> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, buf)
    }
}

impl Drop for DownstreamSocket {
    fn drop(&mut self) {
        self.link.prepare_close();
    }
}

impl AsyncRead for DownstreamSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = if self.begun.is_empty() {
            self.link.poll_read(cx, buf)
        } else {
            let length = self.begun.len().min(buf.remaining());
            buf.put_slice(&self.begun.split_to(length));
            if self.begun.is_empty() {
                self.begun = BytesMut::new();
            }
            Poll::Ready(Ok(()))
        };
        if buf.filled().len() > before {
            self.link.note_head_started();
        }
        result
    }
}

impl AsyncWrite for DownstreamSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let link = &self.link;
        let length = bufs.iter().map(|buf| buf.len()).sum::<usize>();
        if !link.is_holding() {
            if !link.holds() {
                return link.poll_write(cx, bufs);
            }
            if link.held().len() + length > MAX_JOINED {
                ready!(link.poll_drain(cx))?;
                return link.poll_write(cx, bufs);
            }
        }
        for buf in bufs {
            link.held().extend_from_slice(buf);
        }
        // As one write with what was held; whoever flushes waits for it.
        if !link.is_holding()
            && let Poll::Ready(Err(error)) = link.poll_drain(cx)
        {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.link.is_holding() { Poll::Ready(Ok(())) } else { self.link.poll_drain(cx) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.release();
        if self.link.is_severed() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.link.poll_drain(cx))?;
        Poll::Ready(self.link.shut_down())
    }
}

#[async_trait]
impl Shutdown for DownstreamSocket {
    async fn shutdown(&mut self) {
        // A connection that cannot be shut down is gone already.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for DownstreamSocket {
    fn id(&self) -> UniqueIDType {
        self.link.fd()
    }
}

impl Ssl for DownstreamSocket {}

impl Peek for DownstreamSocket {}

impl GetTimingDigest for DownstreamSocket {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for DownstreamSocket {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for DownstreamSocket {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.digest.clone())
    }
}
