//! Connections to a backend: found in the pool or opened, and given back.

mod connection;

use std::error::Error as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::upstreams::peer::{HttpPeer, Peer};
use prometheus::Histogram;
use tokio::sync::Mutex;

use crate::config;
pub use connection::{Connection, HeadError};

/// Idle connections that are kept per upstream.
const POOL_SIZE: usize = 1024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot resolve `{host}`: {error}")]
    Resolve { host: String, error: std::io::Error },
    #[error("`{host}` resolves to no address")]
    NoAddress { host: String },
    #[error("cannot connect to {address}: {error}")]
    Connect { address: SocketAddr, error: Box<pingora::Error> },
    #[error("no resources left to connect to {address}: {error}")]
    NoResources { address: SocketAddr, error: Box<pingora::Error> },
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
}

/// A backend, with the pool of its idle connections.
pub struct Upstream {
    config: Arc<config::Upstream>,
    connector: TransportConnector,
    connect_seconds: Histogram,
    /// The address that last worked; pooled connections are looked for there without asking DNS.
    last_address: Mutex<Option<SocketAddr>>,
}

impl Upstream {
    pub fn new(config: Arc<config::Upstream>, connect_seconds: Histogram) -> Self {
        Self {
            config,
            connector: TransportConnector::new(Some(ConnectorOptions::new(POOL_SIZE))),
            connect_seconds,
            last_address: Mutex::new(None),
        }
    }

    pub fn config(&self) -> &config::Upstream {
        &self.config
    }

    /// Takes an idle connection that is still open, if there is one.
    ///
    /// It is looked at before it is handed out: one that the backend has closed, or has written to
    /// unasked, is discarded. So a request that may not be sent twice can use what this returns.
    pub async fn pooled(&self) -> Option<Connection> {
        self.config.keepalive_idle?;
        let peer = peer(self.literal_address().or(*self.last_address.lock().await)?);
        let stream = self.connector.reused_stream(&peer).await?;
        Some(Connection::reused(stream, peer))
    }

    /// Opens a connection, within `connect_timeout` in all.
    pub async fn open(&self) -> Result<Connection, ConnectError> {
        let started = Instant::now();
        let limit = self.config.connect_timeout;
        let connection = tokio::time::timeout(limit, self.open_any())
            .await
            .unwrap_or(Err(ConnectError::TimedOut(limit)))?;
        self.connect_seconds.observe(started.elapsed().as_secs_f64());
        Ok(connection)
    }

    /// Whether the backend takes a connection within this time. The connection is closed again.
    pub async fn is_reachable(&self, limit: Duration) -> bool {
        let limit = limit.min(self.config.connect_timeout);
        matches!(tokio::time::timeout(limit, self.open_any()).await, Ok(Ok(_)))
    }

    /// Gives a connection back to the pool, if the exchange left it fit for another.
    pub async fn give_back(&self, connection: Connection) {
        let Some(idle) = self.config.keepalive_idle else { return };
        if let Some((stream, peer)) = connection.into_reusable().await {
            self.connector.release_stream(stream, peer.reuse_hash(), Some(idle));
        }
    }

    /// The peer for an exchange that pingora's stock path makes.
    pub async fn stock_peer(&self) -> Result<HttpPeer, ConnectError> {
        let addresses = self.resolve().await?;
        let host = &self.config.server.host;
        let address = addresses.first().ok_or_else(|| ConnectError::NoAddress { host: host.clone() })?;
        let mut peer = peer(*address);
        peer.options.total_connection_timeout = Some(self.config.connect_timeout);
        Ok(peer)
    }

    async fn open_any(&self) -> Result<Connection, ConnectError> {
        let host = self.config.server.host.clone();
        let mut last_error = ConnectError::NoAddress { host };
        for address in self.resolve().await? {
            let peer = peer(address);
            match self.connector.new_stream(&peer).await {
                Ok(stream) => {
                    *self.last_address.lock().await = Some(address);
                    return Ok(Connection::fresh(stream, peer));
                }
                Err(error) if is_out_of_resources(&error) => {
                    return Err(ConnectError::NoResources { address, error });
                }
                Err(error) => last_error = ConnectError::Connect { address, error },
            }
        }
        Err(last_error)
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, ConnectError> {
        if let Some(address) = self.literal_address() {
            return Ok(vec![address]);
        }
        let config::Origin { host, port } = &self.config.server;
        let addresses = tokio::net::lookup_host((host.as_str(), *port))
            .await
            .map_err(|error| ConnectError::Resolve { host: host.clone(), error })?;
        Ok(addresses.collect())
    }

    fn literal_address(&self) -> Option<SocketAddr> {
        let config::Origin { host, port } = &self.config.server;
        Some(SocketAddr::new(host.parse::<IpAddr>().ok()?, *port))
    }
}

fn peer(address: SocketAddr) -> HttpPeer {
    HttpPeer::new(address, false, String::new())
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
