//! What the accept loop and the relay must know about a client's socket while pingora owns the connection, and what they tell
//! it. The socket itself is here, so that the relay can write to it without going through pingora, and can hold a head back until it
//! goes out with its first events.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use pingora::protocols::http::ServerSession;
use tokio::io::ReadBuf;

use super::Socket;

/// Bytes of a stream that the kernel may keep unsent before it takes no more.
const MAX_UNSENT: u32 = 64 * 1024;

/// Bytes that are copied together for one write.
const SMALL: usize = 4096;

thread_local! {
    /// Where they are put together.
    static JOINED: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(SMALL));
}

/// What is shared about one client connection, and its socket. The flags are hints between tasks of one connection, so
/// relaxed ordering is enough.
#[derive(Debug)]
pub struct Link {
    /// `None`: a stream of HTTP/2 has no socket of its own.
    socket: Option<Socket>,
    /// Written and held back; goes out before anything else.
    held: Mutex<BytesMut>,
    is_holding: AtomicBool,
    is_plain: bool,
    head_started: AtomicBool,
    head_complete: AtomicBool,
    all_read: AtomicBool,
    is_limited: AtomicBool,
    written: AtomicU64,
    severed: AtomicBool,
    reset: AtomicBool,
}

impl Link {
    /// `is_plain`: what is written to the socket is what the client reads; there is no TLS in between.
    pub fn new(socket: Socket, is_plain: bool) -> Self {
        Self { socket: Some(socket), is_plain, ..Self::of_stream() }
    }

    /// For a stream of HTTP/2.
    pub fn of_stream() -> Self {
        Self {
            socket: None,
            held: Mutex::default(),
            is_holding: AtomicBool::default(),
            is_plain: false,
            head_started: AtomicBool::default(),
            head_complete: AtomicBool::default(),
            all_read: AtomicBool::default(),
            is_limited: AtomicBool::default(),
            written: AtomicU64::default(),
            severed: AtomicBool::default(),
            reset: AtomicBool::default(),
        }
    }

    /// Whether the relay may write to the socket itself.
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Holds back what is written from now on, until [`Self::release`], and until somebody writes or flushes after that.
    pub fn hold(&self) {
        self.is_holding.store(self.socket.is_some(), Ordering::Relaxed);
    }

    pub fn release(&self) {
        self.is_holding.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_holding(&self) -> bool {
        self.is_holding.load(Ordering::Relaxed)
    }

    pub(super) fn held(&self) -> MutexGuard<'_, BytesMut> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bounds what the kernel takes and cannot send yet: it would let events grow old there while their client is slow.
    pub fn limit_unsent(&self) {
        if let Some(Socket::Tcp(tcp)) = &self.socket
            && !self.is_limited.swap(true, Ordering::Relaxed)
        {
            // One that cannot be set is as it was.
            let _ = socket2::SockRef::from(tcp).set_tcp_notsent_lowat(MAX_UNSENT);
        }
    }

    /// Holds these back, until somebody writes or flushes.
    pub fn hold_back(&self, bytes: &[u8]) {
        self.held().extend_from_slice(bytes);
    }

    /// Whether something is held back.
    pub fn holds(&self) -> bool {
        self.socket.is_some() && !self.held().is_empty()
    }

    /// Ready when there is something to read, the end included. Nothing is read.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.socket {
            Some(socket) => socket.poll_read_ready(cx).map(drop),
            None => Poll::Pending,
        }
    }

    /// Writes all of these, after what is held back, in one system call if the socket takes it. Nothing is left of them when it
    /// has begun and the future is dropped.
    pub async fn write_all(&self, pieces: [&[u8]; 3]) -> io::Result<()> {
        let held = std::mem::take(&mut *self.held());
        let pieces = [&held[..], pieces[0], pieces[1], pieces[2]];
        let mut slices = pieces.map(IoSlice::new);
        let mut slices = &mut slices[..];
        let mut written = match self.try_write_joined(&pieces) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            result => result?,
        };
        loop {
            IoSlice::advance_slices(&mut slices, written);
            if slices.is_empty() {
                return Ok(());
            }
            written = poll_fn(|cx| self.poll_write(cx, slices)).await?;
            if written == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
        }
    }

    /// Writes these, after what is held back, if all of it is small and the socket takes some of it at once: then what it does not
    /// take is held back. Returns whether they are written.
    pub fn try_write(&self, pieces: [&[u8]; 3]) -> bool {
        if self.is_holding() {
            return false;
        }
        let mut held = self.held();
        let pieces = [&held[..], pieces[0], pieces[1], pieces[2]];
        match self.try_write_joined(&pieces) {
            Ok(0) | Err(_) => false,
            Ok(written) => {
                let mut slices = pieces.map(IoSlice::new);
                let mut slices = &mut slices[..];
                IoSlice::advance_slices(&mut slices, written);
                let rest = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
                *held = rest;
                true
            }
        }
    }

    /// Writes what is small as one piece, which costs the kernel less than several; returns how much of it was taken.
    fn try_write_joined(&self, pieces: &[&[u8]]) -> io::Result<usize> {
        let length = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        let Some(socket) = &self.socket else { return Err(ErrorKind::NotConnected.into()) };
        if length == 0 || length > SMALL || self.is_severed() {
            return Ok(0);
        }
        let written = JOINED.with_borrow_mut(|joined| {
            joined.clear();
            pieces.iter().for_each(|piece| joined.extend_from_slice(piece));
            socket.try_write(joined)
        })?;
        self.written.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    /// Writes to the socket, whatever is held back.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let Some(socket) = &self.socket else { return Poll::Ready(Err(ErrorKind::NotConnected.into())) };
        if self.is_severed() {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        loop {
            match socket.try_write_vectored(slices) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(socket.poll_write_ready(cx))?;
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

    /// Writes what is held back.
    pub(super) fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = self.held();
        while !held.is_empty() {
            let written = ready!(self.poll_write(cx, &[IoSlice::new(&held)]))?;
            held.advance(written);
        }
        // Not even the room for it is kept.
        *held = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(socket) = &self.socket else { return Poll::Ready(Err(ErrorKind::NotConnected.into())) };
        loop {
            ready!(socket.poll_read_ready(cx))?;
            match socket.try_read(buf.initialize_unfilled()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(read) => {
                    buf.advance(read);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

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

    /// Notes whether all that was read of the connection belonged to the request that has ended.
    pub fn note_all_read(&self, is_all_read: bool) {
        self.all_read.store(is_all_read, Ordering::Relaxed);
    }

    /// Whether nothing was read of the next request. Where nobody has said so, it may have been.
    pub fn is_all_read(&self) -> bool {
        self.all_read.load(Ordering::Relaxed)
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

    pub(super) fn is_severed(&self) -> bool {
        self.severed.load(Ordering::Relaxed)
    }

    /// The socket's descriptor.
    pub(super) fn fd(&self) -> RawFd {
        // What has no socket is never read from or written to by itself.
        self.socket.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    pub(super) fn note_head_started(&self) {
        self.head_started.store(true, Ordering::Relaxed);
    }

    /// Ends the sending side.
    pub(super) fn shut_down(&self) -> io::Result<()> {
        match &self.socket {
            Some(socket) => socket2::SockRef::from(socket).shutdown(std::net::Shutdown::Write),
            None => Ok(()),
        }
    }

    /// Makes the close a reset, if that was asked for.
    pub(super) fn prepare_close(&self) {
        if self.reset.load(Ordering::Relaxed)
            && let Some(socket) = &self.socket
        {
            // Fails only on a socket that is gone already.
            let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
        }
    }
}
