//! The sockets that are listened on: opened here, or handed over by whoever has started this process.
//!
//! systemd hands over the sockets of its `.socket` units, and a sidestream that is replaced by another one hands over its
//! own, both in systemd's way (sd_listen_fds(3)). Nobody is refused then, because the sockets are never closed.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use crate::config::ListenAddress;
use crate::net::{Keepalive, Socket};

/// Connections that the kernel completes before they are accepted.
const BACKLOG: u32 = 4096;

/// Who may connect to a unix socket: its owner and its group.
const SOCKET_MODE: u32 = 0o660;

/// A socket that is listened on.
#[derive(Debug)]
pub enum ListeningSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl ListeningSocket {
    /// Opens one. Must be called within a tokio runtime. `tcp_keepalive`: how its clients are [watched](Self::watch_clients), the very
    /// first ones included.
    pub fn open(address: &ListenAddress, tcp_keepalive: Option<Duration>) -> io::Result<Self> {
        match address {
            ListenAddress::Tcp(address) => open_tcp(*address, tcp_keepalive).map(Self::Tcp),
            ListenAddress::Unix(path) => open_unix(path).map(Self::Unix),
        }
    }

    /// Waits for the next connection; returns it with whom it is from, if it is over TCP.
    pub async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(tcp) => tcp.accept().await.map(|(socket, peer)| (Socket::Tcp(socket), Some(peer))),
            Self::Unix(unix) => unix.accept().await.map(|(socket, _)| (Socket::Unix(socket), None)),
        }
    }

    /// Where it is, with the port that the kernel chose.
    pub fn address(&self) -> Option<ListenAddress> {
        match self {
            Self::Tcp(tcp) => tcp.local_addr().ok().map(ListenAddress::Tcp),
            Self::Unix(unix) => {
                let path = unix.local_addr().ok()?.as_pathname()?.to_owned();
                Some(ListenAddress::Unix(path))
            }
        }
    }

    /// Has the connections that are accepted from now on watched for clients that vanish: they inherit it.
    pub fn watch_clients(&self, tcp_keepalive: Option<Duration>) {
        if let Self::Tcp(tcp) = self {
            watch_clients(&SockRef::from(tcp), tcp_keepalive);
        }
    }

    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(tcp) => tcp.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Another descriptor of the same socket, for a successor.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(tcp) => tcp.as_fd().try_clone_to_owned(),
            Self::Unix(unix) => unix.as_fd().try_clone_to_owned(),
        }
    }

    /// Whether it is what somebody means who writes this address: systemd listens for IPv4 on an IPv6 socket as well.
    fn is(&self, wanted: &ListenAddress) -> bool {
        match (self.address(), wanted) {
            (Some(ListenAddress::Tcp(mine)), ListenAddress::Tcp(wanted)) => {
                let is_everywhere = mine.ip().is_unspecified() && wanted.ip().is_unspecified();
                let is_there = mine.ip().to_canonical() == wanted.ip().to_canonical() || is_everywhere;
                // Port 0 is whichever there is.
                is_there && (mine.port() == wanted.port() || wanted.port() == 0)
            }
            (Some(mine), wanted) => mine == *wanted,
            (None, _) => false,
        }
    }
}

fn watch_clients(socket: &SockRef<'_>, tcp_keepalive: Option<Duration>) {
    match tcp_keepalive {
        Some(idle) => Keepalive::after(idle).apply(socket),
        None => Keepalive::lift(socket),
    }
}

fn open_tcp(address: SocketAddr, tcp_keepalive: Option<Duration>) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    // Before the first connection can come.
    watch_clients(&SockRef::from(&socket), tcp_keepalive);
    socket.listen(BACKLOG)
}

fn open_unix(path: &Path) -> io::Result<UnixListener> {
    // A process that ended leaves its socket's file behind, and nobody can bind to it again.
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket {
        match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            _ => return Err(io::ErrorKind::AddrInUse.into()),
        }
    }
    let socket = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(socket)
}

/// The sockets that were handed over and that nobody has taken yet.
#[derive(Debug, Default)]
pub struct Inherited(Vec<ListeningSocket>);

impl Inherited {
    /// Takes them over from the environment. Must be called within a tokio runtime, and only once.
    pub fn from_environment() -> io::Result<Self> {
        let mut handed_over = listenfd::ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..handed_over.len() {
            if let Ok(Some(tcp)) = handed_over.take_tcp_listener(index) {
                tcp.set_nonblocking(true)?;
                sockets.push(ListeningSocket::Tcp(TcpListener::from_std(tcp)?));
            } else if let Ok(Some(unix)) = handed_over.take_unix_listener(index) {
                unix.set_nonblocking(true)?;
                sockets.push(ListeningSocket::Unix(UnixListener::from_std(unix)?));
            }
        }
        Ok(Self(sockets))
    }

    /// Takes the socket with this address, or opens one.
    pub fn take_or_open(
        &mut self,
        address: &ListenAddress,
        tcp_keepalive: Option<Duration>,
    ) -> io::Result<ListeningSocket> {
        match self.0.iter().position(|socket| socket.is(address)) {
            Some(index) => Ok(self.0.remove(index)),
            None => ListeningSocket::open(address, tcp_keepalive),
        }
    }

    /// The addresses of those that the configuration does not name.
    pub fn rest(&self) -> impl Iterator<Item = ListenAddress> + '_ {
        self.0.iter().filter_map(ListeningSocket::address)
    }
}
