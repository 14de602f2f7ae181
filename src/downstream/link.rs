//! The socket of a client. It is unbuffered, so a write is one system call. It counts the bytes that the
//! kernel accepted, and it can be severed, so that no layer ends an incomplete response properly.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::ReadBuf;

use crate::net::{Keepalive, Socket, set_user_timeout};

/// Maximum amount of unsent data in the kernel for an event stream, in bytes (TCP_NOTSENT_LOWAT).
const MAX_UNSENT: u32 = 64 * 1024;

/// Leaves the timeout to the kernel.
const NEVER: u32 = u32::MAX;

thread_local! {
    /// Scratch buffer of [`Link::try_write_joined`].
    static JOINED: RefCell<Vec<u8>> = RefCell::default();
}

/// The socket of a client, shared by the reading side, the writing side and TLS. The flags are only hints
/// between them, so relaxed ordering suffices.
#[derive(Debug)]
pub struct Link {
    socket: Socket,
    is_limited: AtomicBool,
    /// Whether unread data may be in the socket although readiness was cleared.
    may_have_unread: AtomicBool,
    /// TCP_USER_TIMEOUT in milliseconds. [`NEVER`] is the kernel's default; 0 means that keep-alive is off.
    user_timeout: AtomicU32,
    /// Time after which unanswered keep-alive probes end the connection, in milliseconds; 0 without
    /// keep-alive.
    probing: u32,
    written: AtomicU64,
    severed: AtomicBool,
    reset: AtomicBool,
}

impl Link {
    /// `tcp_keepalive` is the setting of the listener; accepted sockets have inherited it.
    pub fn new(socket: Socket, tcp_keepalive: Option<Duration>) -> Self {
        let (is_limited, may_have_unread, severed, reset) = Default::default();
        let probing = tcp_keepalive.map(|idle| milliseconds(Keepalive::after(idle).user_timeout));
        let probing = probing.unwrap_or_default();
        let (user_timeout, written) = (AtomicU32::new(probing), AtomicU64::new(0));
        Self { socket, is_limited, may_have_unread, user_timeout, probing, written, severed, reset }
    }

    /// Sets TCP_USER_TIMEOUT to the write timeout or the duration of keep-alive probing, whichever is longer.
    /// The kernel applies one limit both to unacknowledged data and to a peer that does not read, so the
    /// limit must not be shorter than either. `None` leaves the limit to the kernel.
    pub fn follow_write_timeout(&self, limit: Option<Duration>) {
        self.set_user_timeout(limit.map_or(NEVER, milliseconds).max(self.probing));
    }

    /// Like [`Self::follow_write_timeout`], but never shortens the limit, because other streams of the
    /// connection may need the longer one.
    pub fn allow_write_timeout(&self, limit: Option<Duration>) {
        let before = self.user_timeout.load(Ordering::Relaxed);
        self.set_user_timeout(limit.map_or(NEVER, milliseconds).max(before));
    }

    /// Lets the kernel close the connection as soon as keep-alive probes remain unanswered.
    pub fn follow_probes(&self) {
        self.set_user_timeout(self.probing);
    }

    fn set_user_timeout(&self, wanted: u32) {
        let before = self.user_timeout.load(Ordering::Relaxed);
        if before == 0 || before == wanted {
            return;
        }
        self.user_timeout.store(wanted, Ordering::Relaxed);
        let limit = if wanted == NEVER { Duration::ZERO } else { Duration::from_millis(wanted.into()) };
        set_user_timeout(&SockRef::from(&self.socket), limit);
    }

    /// Bounds the unsent data in the kernel, where events would grow stale while the client is slow.
    pub fn limit_unsent(&self) {
        if let Socket::Tcp(tcp) = &self.socket
            && !self.is_limited.swap(true, Ordering::Relaxed)
        {
            // If the option is not available, the kernel's limit stays in effect.
            let _ = SockRef::from(tcp).set_tcp_notsent_lowat(MAX_UNSENT);
        }
    }

    /// Ready when data or the end of the stream can be read. Reads nothing.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.may_have_unread.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        self.socket.poll_read_ready(cx).map(drop)
    }

    /// Ready when the client has closed its sending side, even if data before that is still unread.
    pub fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.socket.has_ended() {
            ready!(self.socket.poll_read_ready(cx)).ok();
            if !self.socket.has_ended() {
                self.socket.clear_read_ready();
                self.may_have_unread.store(true, Ordering::Relaxed);
            }
        }
        Poll::Ready(())
    }

    /// Writes several small pieces with one system call; copying them is cheaper than a vectored write.
    /// Returns the number of bytes written.
    pub fn try_write_joined(&self, pieces: &[&[u8]]) -> io::Result<usize> {
        if self.is_severed() {
            return Ok(0);
        }
        let written = JOINED.with_borrow_mut(|joined| {
            joined.clear();
            pieces.iter().for_each(|piece| joined.extend_from_slice(piece));
            self.socket.try_write(joined)
        })?;
        self.written.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    /// See `Socket::is_broken`.
    pub fn is_broken(&self) -> bool {
        self.socket.is_broken()
    }

    pub fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.is_severed() {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        loop {
            match self.socket.try_write_vectored(slices) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(self.socket.poll_write_ready(cx))?;
                }
                result => {
                    if let Ok(n) = result {
                        self.written.fetch_add(n as u64, Ordering::Relaxed);
                    }
                    return Poll::Ready(result);
                }
            }
        }
    }

    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.may_have_unread.load(Ordering::Relaxed) {
            let room = buf.initialize_unfilled();
            let read = self.socket.read_now(room);
            // A read that fills the buffer may have left data behind.
            let is_all = !matches!(read, Ok(read) if read == room.len());
            self.may_have_unread.store(!is_all, Ordering::Relaxed);
            match read {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(read) => {
                    buf.advance(read);
                    return Poll::Ready(Ok(()));
                }
            }
        }
        loop {
            ready!(self.socket.poll_read_ready(cx))?;
            match self.socket.try_read(buf.initialize_unfilled()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(read) => {
                    buf.advance(read);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    /// Bytes that the kernel has accepted so far. The number grows while the client reads.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Makes all further writes fail, so that the last chunk of an incomplete response is never sent. Data
    /// written before still arrives.
    pub fn sever(&self) {
        self.severed.store(true, Ordering::Relaxed);
    }

    /// Like [`Self::sever`], and closing the socket sends a reset. For a body that ends with the connection,
    /// where a FIN would look like its end, and for a client that accepts no data.
    pub fn reset(&self) {
        self.sever();
        self.reset.store(true, Ordering::Relaxed);
    }

    pub fn is_severed(&self) -> bool {
        self.severed.load(Ordering::Relaxed)
    }

    /// Shuts down the sending side.
    pub fn shut_down(&self) -> io::Result<()> {
        SockRef::from(&self.socket).shutdown(Shutdown::Write)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            // Fails only if the socket is already closed.
            let _ = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
        }
    }
}

/// At least 1, because 0 means off.
fn milliseconds(limit: Duration) -> u32 {
    u32::try_from(limit.as_millis()).unwrap_or(NEVER).max(1)
}
