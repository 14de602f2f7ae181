//! A connected stream socket, TCP or Unix.

use std::future::Future;
use std::io::{self, ErrorKind, IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::{TcpStream, UnixStream};

#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A socket that is not registered with any runtime.
#[derive(Debug)]
pub enum StdSocket {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// Evaluates an expression with the pinned inner stream of either variant.
macro_rules! with_inner {
    ($socket:expr, $inner:ident => $body:expr) => {
        match $socket.get_mut() {
            Socket::Tcp($inner) => {
                let $inner = Pin::new($inner);
                $body
            }
            Socket::Unix($inner) => {
                let $inner = Pin::new($inner);
                $body
            }
        }
    };
}

impl Socket {
    /// Deregisters the socket from its runtime.
    pub fn into_std(self) -> io::Result<StdSocket> {
        match self {
            Self::Tcp(tcp) => tcp.into_std().map(StdSocket::Tcp),
            Self::Unix(unix) => unix.into_std().map(StdSocket::Unix),
        }
    }

    /// Registers the socket with the current runtime.
    pub fn from_std(socket: StdSocket) -> io::Result<Self> {
        match socket {
            StdSocket::Tcp(tcp) => TcpStream::from_std(tcp).map(Self::Tcp),
            StdSocket::Unix(unix) => UnixStream::from_std(unix).map(Self::Unix),
        }
    }

    /// Disables Nagle's algorithm, so that small writes are sent at once. Unix sockets have no such delay.
    pub fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.set_nodelay(true),
            Self::Unix(_) => Ok(()),
        }
    }
}

/// Evaluates an expression with the inner stream of either variant.
macro_rules! with_shared {
    ($socket:expr, $inner:ident => $body:expr) => {
        match $socket {
            Socket::Tcp($inner) => $body,
            Socket::Unix($inner) => $body,
        }
    };
}

/// Operations on a shared reference. At most one task may wait for each direction.
impl Socket {
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_shared!(self, inner => inner.poll_read_ready(cx))
    }

    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_shared!(self, inner => inner.poll_write_ready(cx))
    }

    /// Reads once. A short read means that the socket is drained, so readiness is cleared as after
    /// `WouldBlock`. That saves the extra read that would only find nothing.
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        let once = || {
            read = (&*SockRef::from(self)).read(buf)?;
            if (1..buf.len()).contains(&read) { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
        };
        match with_shared!(self, inner => inner.try_io(Interest::READABLE, once)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && read > 0 => Ok(read),
            result => result.map(|()| read),
        }
    }

    /// Clears the read readiness without reading, so that [`Self::poll_read_ready`] waits for the next event,
    /// which includes the end of the stream.
    pub fn clear_read_ready(&self) {
        let would_block = || Err::<(), _>(ErrorKind::WouldBlock.into());
        // The closure's `WouldBlock` is expected: it makes tokio clear the readiness.
        let _ = with_shared!(self, inner => inner.try_io(Interest::READABLE, would_block));
    }

    /// Reads once, regardless of the known readiness.
    pub fn read_now(&self, buf: &mut [u8]) -> io::Result<usize> {
        (&*SockRef::from(self)).read(buf)
    }

    /// Whether the peer is known to have closed its sending side. Data sent before that may still be unread.
    pub fn has_ended(&self) -> bool {
        self.ready().is_some_and(|ready| ready.is_read_closed() || ready.is_error())
    }

    /// Whether the connection is known to have failed, without reading or writing. A connection that both
    /// sides have closed is not broken: data received before the close may still be unread.
    pub fn is_broken(&self) -> bool {
        self.ready().is_some_and(|ready| ready.is_error())
    }

    /// The readiness known at this moment.
    fn ready(&self) -> Option<Ready> {
        let mut context = Context::from_waker(Waker::noop());
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::ERROR;
        let ready = with_shared!(self, inner => pin!(inner.ready(interest)).poll(&mut context));
        match ready {
            Poll::Ready(ready) => ready.ok(),
            Poll::Pending => None,
        }
    }

    /// Writes once, regardless of the known readiness. A small write nearly always succeeds, so checking
    /// first would cost more than an occasional `WouldBlock`.
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        SockRef::from(self).send(buf)
    }

    pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        with_shared!(self, inner => inner.try_write_vectored(bufs))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(tcp) => tcp.as_fd(),
            Self::Unix(unix) => unix.as_fd(),
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        with_inner!(self, inner => inner.poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        with_inner!(self, inner => inner.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        with_inner!(self, inner => inner.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_inner!(self, inner => inner.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_inner!(self, inner => inner.poll_shutdown(cx))
    }
}
