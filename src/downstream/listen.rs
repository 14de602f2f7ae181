//! Listening sockets, opened here or inherited from the parent process.
//!
//! systemd passes the sockets of its `.socket` units. During an upgrade, sidestream passes its sockets to its
//! successor in the same way (sd_listen_fds(3)). The sockets are never closed in between, so no client is
//! refused.

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

/// Length of the accept queue.
const BACKLOG: u32 = 4096;

/// Permissions of a Unix socket: its owner and group may connect.
const SOCKET_MODE: u32 = 0o660;

#[derive(Debug)]
pub enum ListeningSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl ListeningSocket {
    /// Opens a socket. Must be called within a tokio runtime. `tcp_keepalive` applies from the first
    /// connection on; see [`Self::set_keepalive`].
    pub fn open(address: &ListenAddress, tcp_keepalive: Option<Duration>) -> io::Result<Self> {
        match address {
            ListenAddress::Tcp(address) => open_tcp(*address, tcp_keepalive).map(Self::Tcp),
            ListenAddress::Unix(path) => open_unix(path).map(Self::Unix),
        }
    }

    /// Waits for the next connection. Returns it with its peer address, if it is TCP.
    pub async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(tcp) => tcp.accept().await.map(|(socket, peer)| (Socket::Tcp(socket), Some(peer))),
            Self::Unix(unix) => unix.accept().await.map(|(socket, _)| (Socket::Unix(socket), None)),
        }
    }

    /// The bound address, with the port that the kernel chose.
    pub fn address(&self) -> Option<ListenAddress> {
        match self {
            Self::Tcp(tcp) => tcp.local_addr().ok().map(ListenAddress::Tcp),
            Self::Unix(unix) => {
                let path = unix.local_addr().ok()?.as_pathname()?.to_owned();
                Some(ListenAddress::Unix(path))
            }
        }
    }

    /// Sets TCP keep-alive for connections accepted from now on; they inherit it.
    pub fn set_keepalive(&self, tcp_keepalive: Option<Duration>) {
        if let Self::Tcp(tcp) = self {
            set_keepalive(&SockRef::from(tcp), tcp_keepalive);
        }
    }

    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(tcp) => tcp.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Duplicates the descriptor for a successor.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(tcp) => tcp.as_fd().try_clone_to_owned(),
            Self::Unix(unix) => unix.as_fd().try_clone_to_owned(),
        }
    }

    /// Whether this socket serves the wanted address. systemd serves IPv4 on an IPv6 socket too, so both
    /// unspecified addresses match.
    fn is(&self, wanted: &ListenAddress) -> bool {
        match (self.address(), wanted) {
            (Some(ListenAddress::Tcp(mine)), ListenAddress::Tcp(wanted)) => {
                let is_everywhere = mine.ip().is_unspecified() && wanted.ip().is_unspecified();
                let is_there = mine.ip().to_canonical() == wanted.ip().to_canonical() || is_everywhere;
                // Port 0 matches any port.
                is_there && (mine.port() == wanted.port() || wanted.port() == 0)
            }
            (Some(mine), wanted) => mine == *wanted,
            (None, _) => false,
        }
    }
}

fn set_keepalive(socket: &SockRef<'_>, tcp_keepalive: Option<Duration>) {
    match tcp_keepalive {
        Some(idle) => Keepalive::after(idle).apply(socket),
        None => Keepalive::lift(socket),
    }
}

fn open_tcp(address: SocketAddr, tcp_keepalive: Option<Duration>) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    // Set before listening, so that the first connection inherits it.
    set_keepalive(&SockRef::from(&socket), tcp_keepalive);
    socket.listen(BACKLOG)
}

fn open_unix(path: &Path) -> io::Result<UnixListener> {
    // A process that has ended leaves its socket file behind, which prevents binding. The file is removed if
    // no process listens on it.
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

/// Inherited sockets that are not in use yet.
#[derive(Debug, Default)]
pub struct Inherited(Vec<ListeningSocket>);

impl Inherited {
    /// Takes the sockets from the environment. Must be called within a tokio runtime, and only once.
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

    /// Takes the inherited socket with this address, or opens a new one.
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

    /// The addresses of the sockets that were not taken, because the configuration does not name them.
    pub fn rest(&self) -> impl Iterator<Item = ListenAddress> + '_ {
        self.0.iter().filter_map(ListeningSocket::address)
    }
}
