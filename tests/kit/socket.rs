//! Sockets of clients and backends: listeners on ports chosen by the kernel, and options of whole
//! connections.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

/// Length of the accept queue.
const BACKLOG: u32 = 4096;

/// A connection of any kind.
pub trait Io: AsyncRead + AsyncWrite + Send + Sync + Unpin {
    /// The TCP socket below, if there is one.
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

/// A source of connections.
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

/// Calls `serve` for every connection, without end.
pub async fn accept_each<L: Listener>(listener: L, serve: impl Fn(L::Io)) {
    while let Ok(io) = listener.accept().await {
        serve(io);
    }
}

/// A port on which nothing listens at the moment, for another process.
pub fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address")
}

/// A reserved port, with or without a listener. Without one, the kernel refuses connections to it, and no
/// other process gets the port.
pub struct Port {
    pub address: SocketAddr,
    _taken: TcpSocket,
}

impl Port {
    pub fn of(address: impl Into<SocketAddr>) -> Self {
        let taken = bind(address.into());
        Self { address: taken.local_addr().expect("an address"), _taken: taken }
    }

    /// Panics if something already listens on the port.
    pub fn listen(&self) -> TcpListener {
        bind(self.address).listen(BACKLOG).expect("a listener")
    }
}

/// Linux lets sockets share an address if each sets SO_REUSEADDR and none is listening yet.
fn bind(address: SocketAddr) -> TcpSocket {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.expect("a socket");
    socket.set_reuseaddr(true).expect("a socket");
    socket.bind(address).expect("a port");
    socket
}

/// A port that drops connection attempts: its accept queue is full, so the kernel drops SYN packets.
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
        // A connection attempt that times out shows that the queue is full.
        let _ = tokio::time::timeout(std::time::Duration::from_millis(200), fill).await;
        Self { address: port.address, _listener: listener, _queued: queued }
    }
}

/// Makes closing the connection send a reset.
pub fn reset_at_the_end(tcp: &TcpStream) {
    tcp.set_zero_linger().expect("a socket");
}
