//! The client's socket.
//!
//! Unbuffered: a write is one system call, and nothing waits for a flush. What the accept loop and the relay
//! must know about the socket while pingora owns it, and what they tell it, is in [`Link`].

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::http::ServerSession;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use std::os::fd::AsRawFd;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

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

/// A client's TCP connection.
#[derive(Debug)]
pub struct DownstreamSocket {
    tcp: TcpStream,
    link: Arc<Link>,
    digest: Arc<SocketDigest>,
}

impl DownstreamSocket {
    pub fn new(tcp: TcpStream, link: Arc<Link>) -> Self {
        let digest = Arc::new(SocketDigest::from_raw_fd(tcp.as_raw_fd()));
        Self { tcp, link, digest }
    }

    fn write_with(
        &mut self,
        write: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.link.is_severed() {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let result = write(Pin::new(&mut self.tcp));
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
            let _ = socket2::SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
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
        let result = Pin::new(&mut self.tcp).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.link.head_started.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl AsyncWrite for DownstreamSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.write_with(|tcp| tcp.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write_with(|tcp| tcp.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.link.is_severed() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.tcp).poll_shutdown(cx)
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
        self.tcp.as_raw_fd()
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
