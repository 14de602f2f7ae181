//! Connections to a backend: found in the pool or opened, and given back.

mod connection;
mod connector;
mod http1;
mod http2;
mod pool;
mod write_behind;

use std::error::Error as _;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pingora::ErrorType;
use pingora::protocols::ALPN;
use pingora::protocols::http::v2::client::Http2Session;
use pingora::upstreams::peer::HttpPeer;
use prometheus::Histogram;
use tokio::net::{TcpStream, UnixStream};

use crate::config::{self, Address};
use crate::net::{Socket, descriptors};
pub use connection::{Connection, HeadError, Progress};
pub use connector::{AuthoritiesError, Connector, NO_AUTHORITIES, system_authorities};
pub use http1::Http1;
use http2::Http2;
use pool::Key;
use write_behind::{UpstreamLink, Wire, WriteBehind};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot resolve `{host}`: {error}")]
    Resolve { host: String, error: std::io::Error },
    #[error("`{host}` resolves to no address")]
    NoAddress { host: String },
    #[error("cannot connect to {place}: {error}")]
    Connect { place: String, error: Box<pingora::Error> },
    #[error(
        "{place} shows a certificate that is an authority itself, as `openssl req -x509` makes them, and rustls takes \
         none of those: make it with `-addext basicConstraints=critical,CA:FALSE`, or write `verify: false`"
    )]
    ServedByAuthority { place: String },
    #[error("{place} does not agree to HTTP/2: write `https://` for this server, not `h2s://`")]
    NoHttp2 { place: String },
    #[error("no descriptors left to connect to {place}")]
    NoDescriptors { place: String },
    #[error("no resources left to connect to {place}: {error}")]
    NoResources { place: String, error: Box<pingora::Error> },
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
}

/// What a connection is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Exchange,
    /// Upgrades are of HTTP/1.1, whatever the backend speaks beside it (RFC 9113, 8.6).
    Upgrade,
}

/// What the backend may send on one HTTP/2 stream before it is read, in bytes: a slow reader costs no more.
const STREAM_WINDOW: u32 = 64 * 1024;
/// Streams on one HTTP/2 connection.
const STREAMS: u32 = 100;

/// A backend, with the pool of its idle connections.
pub struct Upstream {
    config: Arc<config::Upstream>,
    connector: Arc<Connector>,
    authority: String,
    /// `None`: its name is to be resolved, or it is a unix socket.
    literal_address: Option<SocketAddr>,
    /// Keeps connections apart that are to the same address but verified in another way.
    group: u64,
    connect_seconds: Histogram,
    /// The address that last worked; pooled connections are looked for there without asking DNS.
    last_address: Mutex<Option<SocketAddr>>,
}

impl Upstream {
    /// `group` is its own among those that share the connector.
    pub fn new(
        config: Arc<config::Upstream>,
        connector: Arc<Connector>,
        group: u64,
        connect_seconds: Histogram,
    ) -> Self {
        let authority = config.server.authority();
        let literal_address = literal_address(&config.server);
        let last_address = Mutex::new(None);
        Self { config, connector, authority, literal_address, group, connect_seconds, last_address }
    }

    pub fn config(&self) -> &config::Upstream {
        &self.config
    }

    /// The server's host and port, as they stand in a `Host` field.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Takes an idle connection that is still open, if there is one.
    ///
    /// It is looked at before it is handed out: one that the backend has closed, or has written to
    /// unasked, is discarded. So a request that may not be sent twice can use what this returns.
    pub async fn pooled(&self, wanted: Use) -> Option<Connection> {
        self.config.keepalive_idle?;
        let place = match &self.config.server.address {
            Address::Unix(path) => Place::Unix(path),
            Address::Tcp { .. } => Place::Tcp(self.literal_address.or(self.last_address())?),
        };
        if self.speaks_http2(wanted) {
            return Box::pin(self.pooled_http2(&place)).await;
        }
        let key = self.key(&place);
        let stream = self.connector.pool.take(key)?;
        Some(Connection::http1(Http1::new(stream, key), true))
    }

    async fn pooled_http2(&self, place: &Place<'_>) -> Option<Connection> {
        let peer = self.peer(place, ALPN::H2).ok()?;
        let session = self.connector.pooled_http2(&peer).await?;
        Some(Connection::http2(self.http2(session, peer), true))
    }

    /// Opens a connection, within `connect_timeout` in all.
    pub async fn open(&self, wanted: Use) -> Result<Connection, ConnectError> {
        let started = Instant::now();
        let limit = self.config.connect_timeout;
        let connection = tokio::time::timeout(limit, self.open_any(wanted)).await;
        let connection = connection.unwrap_or(Err(ConnectError::TimedOut(limit)))?;
        self.connect_seconds.observe(started.elapsed().as_secs_f64());
        Ok(connection)
    }

    /// Whether the backend takes a connection within this time. The connection is closed again.
    pub async fn is_reachable(&self, limit: Duration) -> bool {
        let limit = limit.min(self.config.connect_timeout);
        let look = async {
            for place in self.places().await? {
                if self.connect(&place).await.is_ok() {
                    return Ok(true);
                }
            }
            Ok::<bool, ConnectError>(false)
        };
        matches!(tokio::time::timeout(limit, look).await, Ok(Ok(true)))
    }

    /// Gives a connection back to the pool, if the exchange left it fit for another.
    pub fn give_back(&self, connection: Connection) {
        let Some(idle) = self.config.keepalive_idle else { return };
        if let Some((stream, key)) = connection.into_http1().and_then(Http1::into_reusable) {
            self.connector.pool.put(key, stream, idle);
        }
    }

    /// Opens a connection to the first of the server's addresses that takes one.
    async fn open_any(&self, wanted: Use) -> Result<Connection, ConnectError> {
        if !descriptors::is_left_for_upstream() {
            return Err(ConnectError::NoDescriptors { place: self.authority.clone() });
        }
        let mut last_error = self.no_address();
        for place in self.places().await? {
            match self.open_at(&place, wanted).await {
                Ok(connection) => {
                    if let Place::Tcp(address) = place {
                        *self.last_address.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
                    }
                    return Ok(connection);
                }
                Err(error @ (ConnectError::NoResources { .. } | ConnectError::NoHttp2 { .. })) => {
                    return Err(error);
                }
                Err(error) => last_error = error,
            }
        }
        Err(last_error)
    }

    /// Whether an exchange of this kind is of HTTP/2.
    fn speaks_http2(&self, wanted: Use) -> bool {
        self.config.server.protocol.is_http2() && wanted == Use::Exchange
    }

    async fn open_at(&self, place: &Place<'_>, wanted: Use) -> Result<Connection, ConnectError> {
        if self.speaks_http2(wanted) {
            let peer = self.peer(place, ALPN::H2)?;
            let session = self.connector.open_http2(&peer).await.map_err(|error| place.failed(error))?;
            let session = session.ok_or_else(|| ConnectError::NoHttp2 { place: place.to_string() })?;
            return Ok(Connection::http2(self.http2(session, peer), false));
        }
        let stream = WriteBehind::new(self.connect(place).await?);
        Ok(Connection::http1(Http1::new(stream, self.key(place)), false))
    }

    /// Opens what HTTP/1.1 goes over.
    async fn connect(&self, place: &Place<'_>) -> Result<Wire, ConnectError> {
        if self.config.server.protocol.is_tls() {
            let stream = self.connector.open_tls(&self.peer(place, ALPN::H1)?).await;
            return stream.map(Wire::Tls).map_err(|error| place.failed(error));
        }
        let socket = match place {
            Place::Tcp(address) => TcpStream::connect(address).await.map(Socket::Tcp),
            Place::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix),
        };
        let socket = socket.and_then(|socket| socket.set_nodelay().map(|()| socket));
        socket.map(Wire::Plain).map_err(|error| {
            place.failed(pingora::Error::because(ErrorType::ConnectError, "opening a connection", error))
        })
    }

    fn key(&self, place: &Place<'_>) -> Key {
        let address = match place {
            Place::Tcp(address) => Some(*address),
            Place::Unix(_) => None,
        };
        Key { group: self.group, address }
    }

    fn last_address(&self) -> Option<SocketAddr> {
        *self.last_address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn no_address(&self) -> ConnectError {
        ConnectError::NoAddress { host: self.config.server.host().to_owned() }
    }

    fn http2(&self, session: Http2Session, peer: HttpPeer) -> Http2 {
        Http2::new(session, self.connector.clone(), peer, self.config.keepalive_idle)
    }

    /// Where the server is, as far as that is known now.
    async fn places(&self) -> Result<Vec<Place<'_>>, ConnectError> {
        let (host, port) = match &self.config.server.address {
            Address::Unix(path) => return Ok(vec![Place::Unix(path)]),
            Address::Tcp { host, port } => (host, port),
        };
        if let Some(address) = self.literal_address {
            return Ok(vec![Place::Tcp(address)]);
        }
        let addresses = tokio::net::lookup_host((host.as_str(), *port))
            .await
            .map_err(|error| ConnectError::Resolve { host: host.clone(), error })?;
        Ok(addresses.map(Place::Tcp).collect())
    }

    fn peer(&self, place: &Place<'_>, alpn: ALPN) -> Result<HttpPeer, ConnectError> {
        let (origin, tls) = (&self.config.server, &self.config.tls);
        // Never empty with TLS: pingora verifies no certificate then.
        let name = tls.server_name.clone().unwrap_or_else(|| origin.host().to_owned());
        let mut peer = match place {
            Place::Tcp(address) => HttpPeer::new(*address, origin.protocol.is_tls(), name),
            Place::Unix(path) => HttpPeer::new_uds(&path.to_string_lossy(), false, name)
                .map_err(|error| place.failed(error))?,
        };
        peer.group_key = self.group;
        let options = &mut peer.options;
        options.verify_cert = tls.verify;
        options.verify_hostname = tls.verify;
        options.ca = tls.ca.as_ref().map(|authorities| authorities.wrapped.clone());
        options.alpn = alpn;
        // Without a pool, a connection ends with its stream.
        options.max_h2_streams = if self.config.keepalive_idle.is_some() { STREAMS as usize } else { 1 };
        options.h2_stream_window_size = Some(STREAM_WINDOW);
        // As much as all its streams may use: one that is not read holds up no other.
        options.h2_connection_window_size = Some(STREAM_WINDOW * STREAMS);
        Ok(peer)
    }
}

/// Where a connection goes.
enum Place<'a> {
    Tcp(SocketAddr),
    Unix(&'a Path),
}

impl Place<'_> {
    fn failed(&self, error: Box<pingora::Error>) -> ConnectError {
        let place = self.to_string();
        if is_out_of_resources(&error) {
            ConnectError::NoResources { place, error }
        } else if error.to_string().contains("CaUsedAsEndEntity") {
            // rustls has it in a type of its own that nobody can look into.
            ConnectError::ServedByAuthority { place }
        } else {
            ConnectError::Connect { place, error }
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn literal_address(server: &config::Origin) -> Option<SocketAddr> {
    match &server.address {
        Address::Tcp { port, .. } => Some(SocketAddr::new(server.literal_ip()?, *port)),
        Address::Unix(_) => None,
    }
}

/// Whether it is this machine that cannot open another connection: no descriptors, ports or memory.
fn is_out_of_resources(error: &pingora::Error) -> bool {
    // errno: ENOMEM, ENFILE, EMFILE, EADDRNOTAVAIL, ENOBUFS (errno(3), Linux numbers).
    const OUT_OF: [i32; 5] = [12, 23, 24, 99, 105];
    io_error(error).and_then(std::io::Error::raw_os_error).is_some_and(|errno| OUT_OF.contains(&errno))
}

/// The operating system's error behind one of pingora's.
fn io_error(error: &pingora::Error) -> Option<&std::io::Error> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io);
        }
        source = error.source();
    }
    None
}
