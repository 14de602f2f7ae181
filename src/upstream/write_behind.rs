//! An upstream connection whose writes do not block.
//!
//! One task writes the request and reads the response. If a write blocked until the backend reads, the
//! response would not be read meanwhile. A backend that answers while it still receives would then deadlock
//! with the proxy. A write that would block is therefore queued here, up to a limit, and goes out while the
//! response is read.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::pingora::TlsStream;
use crate::net::{Keepalive, Socket, set_user_timeout};

/// The maximum backlog beyond one write, in bytes. Callers check [`UpstreamLink::is_clear`] before they
/// write, so the backlog rarely exceeds one piece of a request body.
const LIMIT: usize = 64 * 1024;

/// The write state of an upstream connection, for the relay that reads it.
#[derive(Clone, Debug, Default)]
pub struct UpstreamLink(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    backlog: AtomicBool,
}

impl UpstreamLink {
    /// Called by connection types that do not use [`WriteBehind`].
    pub fn note_backlog(&self, is_backlog: bool) {
        self.0.backlog.store(is_backlog, Ordering::Relaxed);
    }

    /// Whether everything written so far was handed to the socket.
    pub fn is_clear(&self) -> bool {
        !self.0.backlog.load(Ordering::Relaxed)
    }

    /// Resolves when the backlog is empty.
    ///
    /// It registers no waker. It must be polled after a read of the same connection in the same task: the
    /// read writes the backlog and is woken when the socket is writable.
    pub async fn cleared(&self) {
        std::future::poll_fn(|_| if self.is_clear() { Poll::Ready(()) } else { Poll::Pending }).await
    }
}

/// The transport of the connection.
#[derive(Debug)]
pub enum UpstreamWire {
    Plain(Socket),
    /// As opened by pingora's connector.
    Tls(TlsStream),
}

/// Evaluates an expression with the pinned inner stream of either variant.
macro_rules! with_inner {
    ($wire:expr, $inner:ident => $body:expr) => {
        match $wire {
            UpstreamWire::Plain($inner) => {
                let $inner = Pin::new($inner);
                $body
            }
            UpstreamWire::Tls($inner) => {
                let $inner = Pin::new($inner);
                $body
            }
        }
    };
}

/// An upstream connection.
#[derive(Debug)]
pub struct WriteBehind {
    inner: UpstreamWire,
    queue: VecDeque<u8>,
    /// The inner stream has unflushed bytes.
    unflushed: bool,
    is_limited: bool,
    /// A byte was read since the exchange began.
    has_received: bool,
    /// `TCP_USER_TIMEOUT`, if keepalive is on.
    user_timeout: Option<Duration>,
    is_patient: bool,
    link: UpstreamLink,
}

impl WriteBehind {
    /// `keepalive`: the TCP keepalive of the socket, if on.
    pub fn new(inner: UpstreamWire, keepalive: Option<Keepalive>) -> Self {
        Self {
            inner,
            queue: VecDeque::new(),
            unflushed: false,
            is_limited: false,
            has_received: false,
            user_timeout: keepalive.map(|keepalive| keepalive.user_timeout),
            is_patient: false,
            link: UpstreamLink::default(),
        }
    }

    /// Must be called before each exchange on the connection.
    pub fn begin_exchange(&mut self) {
        self.has_received = false;
        if std::mem::take(&mut self.is_patient) {
            self.set_user_timeout(self.user_timeout.unwrap_or_default());
        }
    }

    /// Relaxes `TCP_USER_TIMEOUT` for this exchange. The kernel cannot tell a backend that does not read from
    /// one that is gone, and a large upload may have to wait for a worker. `limit`: `None` means the kernel's
    /// default.
    pub fn be_patient(&mut self, limit: Option<Duration>) {
        if self.user_timeout.is_some() && !std::mem::replace(&mut self.is_patient, true) {
            self.set_user_timeout(limit.unwrap_or_default());
        }
    }

    /// Over TLS, pingora owns the socket, so the setting made when it was opened stays.
    fn set_user_timeout(&self, limit: Duration) {
        if let UpstreamWire::Plain(Socket::Tcp(tcp)) = &self.inner {
            set_user_timeout(&SockRef::from(tcp), limit);
        }
    }

    /// Whether a byte was received since the exchange began.
    pub fn has_received(&self) -> bool {
        self.has_received
    }

    /// Whether an unused connection is open and has received nothing. Its end counts as received.
    pub fn is_idle(&mut self) -> bool {
        let mut byte = [0];
        let mut context = Context::from_waker(Waker::noop());
        self.poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    /// Whether the connection is known to be broken, without reading or writing. Always false over TLS, where
    /// pingora owns the socket.
    pub fn is_broken(&self) -> bool {
        matches!(&self.inner, UpstreamWire::Plain(socket) if socket.is_broken())
    }

    /// Sets the receive buffer of the socket, in bytes. No effect over TLS, where pingora owns the socket.
    pub fn limit_receive_buffer(&mut self, bytes: usize) {
        if let UpstreamWire::Plain(socket) = &self.inner
            && !std::mem::replace(&mut self.is_limited, true)
        {
            // If it fails, the default stays.
            let _ = SockRef::from(socket).set_recv_buffer_size(bytes);
        }
    }

    pub fn link(&self) -> UpstreamLink {
        self.link.clone()
    }

    /// Writes the backlog and flushes. Ready when the backlog is empty.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.queue.is_empty() {
            let (front, _) = self.queue.as_slices();
            let n = ready!(with_inner!(&mut self.inner, inner => inner.poll_write(cx, front)))?;
            self.queue.drain(..n);
        }
        if self.unflushed {
            ready!(with_inner!(&mut self.inner, inner => inner.poll_flush(cx)))?;
            self.unflushed = false;
        }
        self.note_backlog();
        Poll::Ready(Ok(()))
    }

    fn note_backlog(&self) {
        self.link.note_backlog(!self.queue.is_empty() || self.unflushed);
    }

    /// Pending if a read would block; the task is then woken when data arrives. Always ready over TLS, which
    /// cannot tell without a read, and while there is a backlog, which the read must write.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.inner {
            UpstreamWire::Plain(socket) if self.queue.is_empty() && !self.unflushed => {
                socket.poll_read_ready(cx).map(drop)
            }
            _ => Poll::Ready(()),
        }
    }

    /// Reads, and writes the backlog first.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if (!self.queue.is_empty() || self.unflushed)
            && let Poll::Ready(Err(_)) = self.poll_drain(cx)
        {
            // The backend no longer reads, but it may have answered. Its response is still read.
            self.queue.clear();
            self.unflushed = false;
            self.note_backlog();
        }
        let before = buf.filled().len();
        let result = with_inner!(&mut self.inner, inner => inner.poll_read(cx, buf));
        self.has_received |= buf.filled().len() > before;
        result
    }
}

impl AsyncWrite for WriteBehind {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if !self.queue.is_empty() {
            let _ = self.poll_drain(cx)?;
        }
        if self.queue.is_empty()
            && let Poll::Ready(result) = with_inner!(&mut self.inner, inner => inner.poll_write(cx, buf))
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

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The rest goes out while the response is read.
        if let Poll::Ready(result) = self.poll_drain(cx) {
            return Poll::Ready(result);
        }
        self.note_backlog();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_inner!(&mut self.inner, inner => inner.poll_shutdown(cx))
    }
}
