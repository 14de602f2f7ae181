//! The client's socket.
//!
//! Unbuffered: a write is one system call, and nothing waits for a flush. What the accept loop and the relay
//! must know about the socket while pingora owns it, and what they tell it, is in [`Link`], which owns the socket: so that the
//! relay can write to it without going through pingora, and can hold a head back until it goes out with its first events.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
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

    fn is_holding(&self) -> bool {
        self.is_holding.load(Ordering::Relaxed)
    }

    fn held(&self) -> MutexGuard<'_, BytesMut> {
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
        let mut written = self.try_write_joined(&pieces)?;
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

    /// Writes what is small as one piece, which costs the kernel less than several; returns how much it took.
    fn try_write_joined(&self, pieces: &[&[u8]]) -> io::Result<usize> {
        let length = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        let Some(socket) = &self.socket else { return Err(ErrorKind::NotConnected.into()) };
        if length == 0 || length > SMALL || self.is_severed() {
            return Ok(0);
        }
        let result = JOINED.with_borrow_mut(|joined| {
            joined.clear();
            pieces.iter().for_each(|piece| joined.extend_from_slice(piece));
            socket.try_write(joined)
        });
        match result {
            Ok(written) => {
                self.written.fetch_add(written as u64, Ordering::Relaxed);
                Ok(written)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Writes to the socket, whatever is held back.
    fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
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
    fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = self.held();
        while !held.is_empty() {
            let written = ready!(self.poll_write(cx, &[IoSlice::new(&held)]))?;
            held.advance(written);
        }
        // Not even the room for it is kept.
        *held = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
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

    fn is_severed(&self) -> bool {
        self.severed.load(Ordering::Relaxed)
    }
}

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
        let digest = Arc::new(SocketDigest::from_raw_fd(fd(&link)));
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

fn fd(link: &Link) -> std::os::fd::RawFd {
    // What has no socket is never read from or written to here.
    link.socket.as_ref().map_or(-1, AsRawFd::as_raw_fd)
}

impl Drop for DownstreamSocket {
    fn drop(&mut self) {
        if self.link.reset.load(Ordering::Relaxed)
            && let Some(socket) = &self.link.socket
        {
            // Fails only on a socket that is gone already.
            let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
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
            self.link.head_started.store(true, Ordering::Relaxed);
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
        Poll::Ready(match &self.link.socket {
            Some(socket) => socket2::SockRef::from(socket).shutdown(std::net::Shutdown::Write),
            None => Ok(()),
        })
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
        fd(&self.link)
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
