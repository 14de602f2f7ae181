//! The client's socket.
//!
//! Unbuffered: a write is one system call, and nothing waits for a flush. What the accept loop and the relay
//! must know about the socket while pingora owns it, and what they tell it, is in [`Link`].

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::protocols::http::ServerSession;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::Socket;
use super::proxy_header::ProxyHeader;

/// What is shared about one client connection. All fields are hints between tasks of one connection, so
/// relaxed ordering is enough.
#[derive(Debug, Default)]
pub struct Link {
    head_started: AtomicBool,
    head_complete: AtomicBool,
    written: AtomicU64,
    severed: AtomicBool,
    reset: AtomicBool,
}

impl Link {
    /// To be called before each request is read.
    pub fn begin_request(&self) {
        self.head_started.store(false, Ordering::Relaxed);
        self.head_complete.store(false, Ordering::Relaxed);
    }

    /// Whether a byte was read since the request began.
    pub fn head_started(&self) -> bool {
        self.head_started.load(Ordering::Relaxed)
    }

    pub fn complete_head(&self) {
        self.head_complete.store(true, Ordering::Relaxed);
    }

    /// Notes for the accept loop that a session has read the head of its request.
    pub fn complete_head_of(session: &mut ServerSession) {
        if let Some(link) = session.take_connection_user_context()
            && let Ok(link) = link.downcast::<Arc<Self>>()
        {
            link.complete_head();
        }
    }

    pub fn head_complete(&self) -> bool {
        self.head_complete.load(Ordering::Relaxed)
    }

    /// Bytes that the client's side of the network took so far: it grows while the client reads.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Makes every further write fail, so that the last chunk of an incomplete response is never sent. What
    /// was written before still arrives.
    pub fn sever(&self) {
        self.severed.store(true, Ordering::Relaxed);
    }

    /// Like [`Self::sever`], and the close becomes a reset: for a body that only the close delimits, where a FIN
    /// would look like its end, and for a client that takes nothing.
    pub fn reset(&self) {
        self.sever();
        self.reset.store(true, Ordering::Relaxed);
    }

    fn is_severed(&self) -> bool {
        self.severed.load(Ordering::Relaxed)
    }
}

/// What an HTTP/2 client begins with (RFC 9113, 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes that are read at once to see how a client begins: most heads of requests fit, so that looking costs no read.
const FIRST_READ: usize = 4096;

/// A client's connection.
#[derive(Debug)]
pub struct DownstreamSocket {
    socket: Socket,
    /// Read already, to see how the client begins.
    begun: BytesMut,
    link: Arc<Link>,
    digest: Arc<SocketDigest>,
}

impl DownstreamSocket {
    pub fn new(socket: Socket, link: Arc<Link>) -> Self {
        let digest = Arc::new(SocketDigest::from_raw_fd(socket.as_raw_fd()));
        Self { socket, begun: BytesMut::new(), link, digest }
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
            if self.socket.read_buf(&mut self.begun).await? == 0 {
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
            if self.socket.read_buf(&mut self.begun).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn write_with(
        &mut self,
        write: impl FnOnce(Pin<&mut Socket>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.link.is_severed() {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let result = write(Pin::new(&mut self.socket));
        if let Poll::Ready(Ok(n)) = result {
            self.link.written.fetch_add(n as u64, Ordering::Relaxed);
        }
        result
    }
}

impl Drop for DownstreamSocket {
    fn drop(&mut self) {
        if self.link.reset.load(Ordering::Relaxed) {
            // Fails only on a socket that is gone already.
            let _ = socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
        }
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
            Pin::new(&mut self.socket).poll_read(cx, buf)
        } else {
            let length = self.begun.len().min(buf.remaining());
            buf.put_slice(&self.begun.split_to(length));
            if self.begun.is_empty() {
                self.begun = BytesMut::new();
            }
            Poll::Ready(Ok(()))
        };
        if buf.filled().len() > before {
            self.link.head_started.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl AsyncWrite for DownstreamSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.write_with(|socket| socket.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write_with(|socket| socket.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.link.is_severed() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_shutdown(cx)
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
        self.socket.as_raw_fd()
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
