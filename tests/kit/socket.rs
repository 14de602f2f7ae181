//! Sockets of peers: listeners on ports that the kernel gives, and what is done to a connection as a whole.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;

/// A connection of any kind.
pub trait Io: AsyncRead + AsyncWrite + Send + Sync + Unpin {
    /// The socket below, where it is one of TCP.
    fn tcp(&self) -> Option<&TcpStream> {
        None
    }
}

impl Io for TcpStream {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

impl Io for UnixStream {}

impl Io for DuplexStream {}

impl Io for Box<dyn Io> {
    fn tcp(&self) -> Option<&TcpStream> {
        (**self).tcp()
    }
}

/// Where connections come from.
pub trait Listener: Send + 'static {
    type Io: Io + 'static;

    fn accept(&self) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (tcp, _) = TcpListener::accept(self).await?;
        tcp.set_nodelay(true).expect("a socket");
        Ok(tcp)
    }
}

impl Listener for UnixListener {
    type Io = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        Ok(UnixListener::accept(self).await?.0)
    }
}

/// Gives away every connection that comes, without end.
pub async fn accept_each<L: Listener>(listener: L, serve: impl Fn(L::Io)) {
    while let Ok(io) = listener.accept().await {
        serve(io);
    }
}

/// A port that nobody listens on right now, for another process to take.
pub fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address")
}

/// A port that is taken, whether somebody listens on it or not: until then the kernel refuses connections to it, and nobody
/// else gets it.
pub struct Port {
    pub address: SocketAddr,
    _taken: TcpSocket,
}

impl Port {
    pub fn of(address: impl Into<SocketAddr>) -> Self {
        let taken = bind(address.into());
        Self { address: taken.local_addr().expect("an address"), _taken: taken }
    }

    /// Panics while somebody else listens on it.
    pub fn listen(&self) -> TcpListener {
        bind(self.address).listen(BACKLOG).expect("a listener")
    }
}

/// On Linux sockets share an address where each says so and none of them listens yet.
fn bind(address: SocketAddr) -> TcpSocket {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.expect("a socket");
    socket.set_reuseaddr(true).expect("a socket");
    socket.bind(address).expect("a port");
    socket
}

/// A port that swallows what would connect to it: nobody accepts, and the queue of the kernel is full, so it drops packets.
pub struct Unreachable {
    pub address: SocketAddr,
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl Unreachable {
    pub async fn new() -> Self {
        let port = Port::of((Ipv4Addr::LOCALHOST, 0));
        let listener = bind(port.address).listen(0).expect("a listener");
        let mut queued = Vec::new();
        let fill = async {
            while let Ok(tcp) = TcpStream::connect(port.address).await {
                queued.push(tcp);
            }
        };
        // The one that does not come through shows that it is full.
        let _ = tokio::time::timeout(std::time::Duration::from_millis(200), fill).await;
        Self { address: port.address, _listener: listener, _queued: queued }
    }
}

/// Has a connection closed with a reset.
pub fn reset_at_the_end(tcp: &TcpStream) {
    tcp.set_zero_linger().expect("a socket");
}
