//! An upstream connection whose writes do not wait.
//!
//! One task both writes the request and reads the response: while a write waited for the backend to read, nothing
//! would be read from the backend, and one that answers while it still receives would block against us. So a
//! write that the socket does not take is kept here, bounded, and goes out while the response is read.

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

/// How much is kept beyond one write, in bytes. Callers look at [`UpstreamLink::is_clear`] before they write, so this is hardly
/// ever more than one piece of a request body.
const LIMIT: usize = 64 * 1024;

/// What the relay must know about an upstream connection while it is being read.
#[derive(Clone, Debug, Default)]
pub struct UpstreamLink(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    backlog: AtomicBool,
}

impl UpstreamLink {
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

/// What the bytes go over.
#[derive(Debug)]
pub enum UpstreamWire {
    Plain(Socket),
    /// As pingora's connector opens it.
    Tls(TlsStream),
}

/// Runs an expression with the pinned inner stream, whichever it is.
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
    /// The inner stream has buffered bytes to flush.
    unflushed: bool,
    is_limited: bool,
    /// Something was read since the exchange began.
    has_received: bool,
    /// How long the kernel lets a backend acknowledge nothing, if it is watched.
    user_timeout: Option<Duration>,
    is_patient: bool,
    link: UpstreamLink,
}

impl WriteBehind {
    /// `keepalive`: by which it is watched.
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

    /// To be called before each exchange on the connection.
    pub fn begin_exchange(&mut self) {
        self.has_received = false;
        if std::mem::take(&mut self.is_patient) {
            self.set_user_timeout(self.user_timeout.unwrap_or_default());
        }
    }

    /// Lets the backend read as slowly as it likes during this exchange: the kernel does not tell one that reads nothing from one that
    /// has vanished, and a large upload may have to wait for a worker. `limit`: `None` for as long as the kernel likes.
    pub fn be_patient(&mut self, limit: Option<Duration>) {
        if self.user_timeout.is_some() && !std::mem::replace(&mut self.is_patient, true) {
            self.set_user_timeout(limit.unwrap_or_default());
        }
    }

    /// Over TLS, pingora owns the socket, and what was set when it was opened stays.
    fn set_user_timeout(&self, limit: Duration) {
        if let UpstreamWire::Plain(Socket::Tcp(tcp)) = &self.inner {
            set_user_timeout(&SockRef::from(tcp), limit);
        }
    }

    /// Whether a byte came from the backend since the exchange began.
    pub fn has_received(&self) -> bool {
        self.has_received
    }

    /// Whether nothing has come over the connection that nobody has read, not even its end. For one that nobody reads.
    pub fn is_idle(&mut self) -> bool {
        let mut byte = [0];
        let mut context = Context::from_waker(Waker::noop());
        self.poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    /// Whether the connection is known to be broken, though nobody reads or writes. Over TLS, pingora owns the socket, and nobody
    /// can tell.
    pub fn is_broken(&self) -> bool {
        matches!(&self.inner, UpstreamWire::Plain(socket) if socket.is_broken())
    }

    /// Sets how much the kernel receives ahead, in bytes. Over TLS, pingora owns the socket, and the kernel decides.
    pub fn limit_receive_buffer(&mut self, bytes: usize) {
        if let UpstreamWire::Plain(socket) = &self.inner
            && !std::mem::replace(&mut self.is_limited, true)
        {
            // One that cannot be set is as it was.
            let _ = SockRef::from(socket).set_recv_buffer_size(bytes);
        }
    }

    pub fn link(&self) -> UpstreamLink {
        self.link.clone()
    }

    /// Hands on what is queued, and flushes; ready when nothing waits any more.
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

    /// Pending if a read would be, which is then woken for. Over TLS, nobody can tell without one; and one that is to write as well
    /// is to be done.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.inner {
            UpstreamWire::Plain(socket) if self.queue.is_empty() && !self.unflushed => {
                socket.poll_read_ready(cx).map(drop)
            }
            _ => Poll::Ready(()),
        }
    }

    /// Reads; and writes what waits for that.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if (!self.queue.is_empty() || self.unflushed)
            && let Poll::Ready(Err(_)) = self.poll_drain(cx)
        {
            // The backend no longer reads, but it may have answered: what it sent is still to be read.
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
        // What the socket does not take now goes out while the response is read.
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
