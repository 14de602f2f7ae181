//! A connected stream socket of either family.

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

/// One that no runtime watches.
#[derive(Debug)]
pub enum StdSocket {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// Runs an expression with the pinned inner stream, whichever it is.
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
    /// Takes it away from its runtime.
    pub fn into_std(self) -> io::Result<StdSocket> {
        match self {
            Self::Tcp(tcp) => tcp.into_std().map(StdSocket::Tcp),
            Self::Unix(unix) => unix.into_std().map(StdSocket::Unix),
        }
    }

    /// Gives it to the runtime that this is called within.
    pub fn from_std(socket: StdSocket) -> io::Result<Self> {
        match socket {
            StdSocket::Tcp(tcp) => TcpStream::from_std(tcp).map(Self::Tcp),
            StdSocket::Unix(unix) => UnixStream::from_std(unix).map(Self::Unix),
        }
    }

    /// Makes small writes go out at once; a unix socket does that anyway.
    pub fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.set_nodelay(true),
            Self::Unix(_) => Ok(()),
        }
    }
}

/// Runs an expression with the inner stream, whichever it is.
macro_rules! with_shared {
    ($socket:expr, $inner:ident => $body:expr) => {
        match $socket {
            Socket::Tcp($inner) => $body,
            Socket::Unix($inner) => $body,
        }
    };
}

/// What needs the socket only shared. A direction must be waited for by one task at a time.
impl Socket {
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_shared!(self, inner => inner.poll_read_ready(cx))
    }

    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_shared!(self, inner => inner.poll_write_ready(cx))
    }

    /// Reads once. What leaves room in `buf` was all there was: then the socket is not ready any more, as after a read that finds
    /// nothing, and nobody has to try that to learn it.
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

    /// Has [`Self::poll_read_ready`] wait for what comes next, the end included, though what is there was not read.
    pub fn pass_over_readable(&self) {
        let pass_over = || Err::<(), _>(ErrorKind::WouldBlock.into());
        // It is what this asks for.
        let _ = with_shared!(self, inner => inner.try_io(Interest::READABLE, pass_over));
    }

    /// Reads once, whatever is known of the socket.
    pub fn read_now(&self, buf: &mut [u8]) -> io::Result<usize> {
        (&*SockRef::from(self)).read(buf)
    }

    /// Whether the peer is known to have ended its side, though what it has sent before may not be read yet.
    pub fn has_ended(&self) -> bool {
        self.ready().is_some_and(|ready| ready.is_read_closed() || ready.is_error())
    }

    /// Whether the connection is known to be broken, though nobody reads or writes. One that both sides have ended is not: what came
    /// before the end may still be to be read.
    pub fn is_broken(&self) -> bool {
        self.ready().is_some_and(|ready| ready.is_error())
    }

    /// What is known of it now.
    fn ready(&self) -> Option<Ready> {
        let mut context = Context::from_waker(Waker::noop());
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::ERROR;
        let ready = with_shared!(self, inner => pin!(inner.ready(interest)).poll(&mut context));
        match ready {
            Poll::Ready(ready) => ready.ok(),
            Poll::Pending => None,
        }
    }

    /// Writes once, whatever is known of the socket: nearly always it takes what is small, and to look that up would cost more than to
    /// be told when it does not.
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
