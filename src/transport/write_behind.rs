//! An upstream connection whose writes do not wait.
//!
//! pingora's client session is one object for both directions: while a write waits for the backend to read, nothing
//! is read from the backend. A backend that answers while it still receives would then block against us. So a
//! write that the socket does not take is kept here, bounded, and goes out while the response is read.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is kept beyond one write, in bytes. Callers look at [`UpstreamLink::is_clear`] before they write, so this is hardly
/// ever more than one piece of a request body.
const LIMIT: usize = 64 * 1024;

/// What the relay must know about an upstream connection while pingora's session owns it.
#[derive(Clone, Debug, Default)]
pub struct UpstreamLink(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    backlog: AtomicBool,
    received: AtomicBool,
}

impl UpstreamLink {
    /// To be called before each exchange on the connection.
    pub fn begin_exchange(&self) {
        self.0.received.store(false, Ordering::Relaxed);
    }

    /// Whether a byte came from the backend since the exchange began.
    pub fn received(&self) -> bool {
        self.0.received.load(Ordering::Relaxed)
    }

    /// To be called by what stands in for [`WriteBehind`] where there is none.
    pub fn note_backlog(&self, is_backlog: bool) {
        self.0.backlog.store(is_backlog, Ordering::Relaxed);
    }

    /// Whether everything written so far has been handed to the socket.
    pub fn is_clear(&self) -> bool {
        !self.0.backlog.load(Ordering::Relaxed)
    }

    /// Ready once nothing that was written waits for the socket any more.
    ///
    /// Nothing wakes for it: it is to be polled after a read of the same connection in the same task, because it is
    /// the read that writes the backlog and is woken when the socket takes more.
    pub async fn cleared(&self) {
        std::future::poll_fn(|_| if self.is_clear() { Poll::Ready(()) } else { Poll::Pending }).await
    }
}

/// Wraps an upstream [`Stream`].
#[derive(Debug)]
pub struct WriteBehind {
    inner: Stream,
    queue: VecDeque<u8>,
    /// The inner stream has buffered bytes to flush.
    unflushed: bool,
    link: UpstreamLink,
}

impl WriteBehind {
    pub fn new(inner: Stream) -> Self {
        Self { inner, queue: VecDeque::new(), unflushed: false, link: UpstreamLink::default() }
    }

    pub fn link(&self) -> UpstreamLink {
        self.link.clone()
    }

    /// Hands on what is queued, and flushes.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.queue.is_empty() {
            let (front, _) = self.queue.as_slices();
            let n = ready!(Pin::new(&mut self.inner).poll_write(cx, front))?;
            self.queue.drain(..n);
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
            self.unflushed = false;
        }
        self.note_backlog();
        Poll::Ready(Ok(()))
    }

    fn note_backlog(&self) {
        self.link.note_backlog(!self.queue.is_empty() || self.unflushed);
    }

    fn write_with(
        &mut self,
        cx: &mut Context<'_>,
        buf: &[u8],
        write: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if !self.queue.is_empty() {
            let _ = self.poll_drain(cx)?;
        }
        if self.queue.is_empty()
            && let Poll::Ready(result) = write(Pin::new(&mut self.inner), cx)
        {
            self.unflushed = true;
            return Poll::Ready(result);
        }
        let room = LIMIT.saturating_sub(self.queue.len()).min(buf.len());
        if room == 0 && !buf.is_empty() {
            return Poll::Pending;
        }
        self.queue.extend(&buf[..room]);
        self.note_backlog();
        Poll::Ready(Ok(room))
    }
}

impl AsyncRead for WriteBehind {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if (!self.queue.is_empty() || self.unflushed)
            && let Poll::Ready(Err(_)) = self.poll_drain(cx)
        {
            // The backend no longer reads, but it may have answered: what it sent is still to be read.
            self.queue.clear();
            self.unflushed = false;
            self.note_backlog();
        }
        let before = buf.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.link.0.received.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl AsyncWrite for WriteBehind {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.write_with(cx, buf, |inner, cx| inner.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs.iter().find(|b| !b.is_empty()).map_or(&[][..], |b| b);
        self.write_with(cx, first, |inner, cx| inner.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What the socket does not take now goes out while the response is read.
        if let Poll::Ready(result) = self.poll_drain(cx) {
            return Poll::Ready(result);
        }
        self.note_backlog();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for WriteBehind {
    async fn shutdown(&mut self) {
        self.inner.shutdown().await;
    }
}

impl UniqueID for WriteBehind {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for WriteBehind {}

impl Peek for WriteBehind {}

impl GetTimingDigest for WriteBehind {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }
}

impl GetProxyDigest for WriteBehind {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl GetSocketDigest for WriteBehind {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}
