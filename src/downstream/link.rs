//! A client's socket: unbuffered, so a write is one system call. It counts what the client took, and can be severed, so that nobody
//! ends an incomplete response properly.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::ReadBuf;

use crate::net::{Keepalive, Socket, set_user_timeout};

/// Bytes of a stream that the kernel may keep unsent before it takes no more.
const MAX_UNSENT: u32 = 64 * 1024;

/// Stands for a client that is left to the kernel.
const NEVER: u32 = u32::MAX;

thread_local! {
    /// Where they are put together.
    static JOINED: RefCell<Vec<u8>> = RefCell::default();
}

/// The socket of a client, shared by what is read from it, what is written to it, and TLS in between. The flags are hints
/// between those, so relaxed ordering is enough.
#[derive(Debug)]
pub struct Link {
    socket: Socket,
    is_limited: AtomicBool,
    /// Something may be there to be read that nobody is told of.
    is_passed_over: AtomicBool,
    /// After how many milliseconds of silence the kernel gives a client up that has not acknowledged what was sent; 0: it is not watched.
    user_timeout: AtomicU32,
    /// How long probing takes, in milliseconds.
    probing: u32,
    written: AtomicU64,
    severed: AtomicBool,
    reset: AtomicBool,
}

impl Link {
    /// `tcp_keepalive`: of its listener, by which it is watched already.
    pub fn new(socket: Socket, tcp_keepalive: Option<Duration>) -> Self {
        let (is_limited, is_passed_over, severed, reset) = Default::default();
        let probing = tcp_keepalive.map(|idle| milliseconds(Keepalive::after(idle).user_timeout));
        let probing = probing.unwrap_or_default();
        let (user_timeout, written) = (AtomicU32::new(probing), AtomicU64::new(0));
        Self { socket, is_limited, is_passed_over, user_timeout, probing, written, severed, reset }
    }

    /// Has the kernel give up a client that acknowledges nothing for as long as one may take that reads nothing, if that is longer than
    /// probes take; `None`: for as long as the kernel likes. It does not tell the two apart, so its limit must not be the shorter one.
    pub fn follow_write_timeout(&self, limit: Option<Duration>) {
        self.set_user_timeout(limit.map_or(NEVER, milliseconds).max(self.probing));
    }

    /// Likewise, but for no shorter time than before: other streams of the connection may have more of it.
    pub fn allow_write_timeout(&self, limit: Option<Duration>) {
        let before = self.user_timeout.load(Ordering::Relaxed);
        self.set_user_timeout(limit.map_or(NEVER, milliseconds).max(before));
    }

    /// Has the kernel give up a client as soon as it answers no probe.
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

    /// Bounds what the kernel takes and cannot send yet: it would let events grow old there while their client is slow.
    pub fn limit_unsent(&self) {
        if let Socket::Tcp(tcp) = &self.socket
            && !self.is_limited.swap(true, Ordering::Relaxed)
        {
            // One that cannot be set is as it was.
            let _ = SockRef::from(tcp).set_tcp_notsent_lowat(MAX_UNSENT);
        }
    }

    /// Ready when there is something to read, the end included. Nothing is read.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_passed_over.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        self.socket.poll_read_ready(cx).map(drop)
    }

    /// Ready when the client ends its side, though what it has sent before stays unread.
    pub fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.socket.has_ended() {
            ready!(self.socket.poll_read_ready(cx)).ok();
            if !self.socket.has_ended() {
                self.socket.pass_over_readable();
                self.is_passed_over.store(true, Ordering::Relaxed);
            }
        }
        Poll::Ready(())
    }

    /// Writes small pieces as one, which costs the kernel less than several; returns how much of them was taken.
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

    /// See [`Socket::is_broken`].
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
        if self.is_passed_over.load(Ordering::Relaxed) {
            let room = buf.initialize_unfilled();
            let read = self.socket.read_now(room);
            // Whatever fills the room may not be all.
            let is_all = !matches!(read, Ok(read) if read == room.len());
            self.is_passed_over.store(!is_all, Ordering::Relaxed);
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

    pub fn is_severed(&self) -> bool {
        self.severed.load(Ordering::Relaxed)
    }

    /// Ends the sending side.
    pub fn shut_down(&self) -> io::Result<()> {
        SockRef::from(&self.socket).shutdown(Shutdown::Write)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            // Fails only on a socket that is gone already.
            let _ = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
        }
    }
}

/// Never 0, which stands for none.
fn milliseconds(limit: Duration) -> u32 {
    u32::try_from(limit.as_millis()).unwrap_or(NEVER).max(1)
}
