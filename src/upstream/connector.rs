//! Opening one connection to one endpoint, and what all upstreams share for it.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::{TcpStream, UnixStream};

use super::error::AttemptError;
use super::pool::{Pool, PoolKey};
use super::resolve::Resolver;
use super::write_behind::UpstreamWire;
use crate::net::pingora::{
    Http2Stream, OpenError, PingoraConnector, RootCertStore, TlsPeer, TlsProblem, load_native_certs,
};
use crate::net::{Endpoint, Keepalive, PerWorker, Socket, Workers};

/// Whether the system's authorities can be read, or why not.
pub fn system_authorities() -> Result<(), AuthoritiesError> {
    let mut authorities = RootCertStore::empty();
    for authority in load_native_certs().map_err(|error| AuthoritiesError(error.to_string()))? {
        authorities.add(authority).map_err(|error| AuthoritiesError(error.to_string()))?;
    }
    Ok(())
}

/// Why the system's authorities cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct AuthoritiesError(String);

/// What all upstreams share.
pub struct Connector {
    /// Over TLS, and all of HTTP/2. What a worker has opened is driven by that worker.
    pingora: PerWorker<PingoraConnector>,
    /// Idle connections of HTTP/1.1. pingora's own pool gives each connection that goes back a task, which costs more than the
    /// exchange.
    pools: PerWorker<Pool>,
    pub resolver: Resolver,
    /// How many servers there have been.
    groups: AtomicU64,
}

impl Connector {
    /// `ca_file`: authorities in place of the system's. Must be called within a tokio runtime.
    pub fn new(ca_file: Option<&str>, workers: &Workers) -> Self {
        let pingora = PerWorker::new(workers, || PingoraConnector::new(ca_file));
        Self {
            pingora,
            pools: PerWorker::new(workers, Pool::new),
            resolver: Resolver::default(),
            groups: AtomicU64::new(0),
        }
    }

    /// A number that no other server has.
    pub fn next_group(&self) -> u64 {
        self.groups.fetch_add(1, Ordering::Relaxed)
    }

    /// What the connections of HTTP/2 of this worker are opened with and kept by.
    pub fn pingora(&self) -> &PingoraConnector {
        self.pingora.current()
    }

    /// The idle connections of HTTP/1.1 of this worker.
    pub fn pool(&self) -> &Pool {
        self.pools.current()
    }

    /// Closes the idle connections of HTTP/1.1 of all workers.
    pub fn close_idle(&self, key: PoolKey) {
        self.pools.iter().for_each(|pool| pool.close(key));
    }

    /// Closes the connections of HTTP/2 of all workers that carry no stream.
    pub fn close_idle_http2(&self, peer: &TlsPeer) {
        self.pingora.iter().for_each(|pingora| pingora.close_idle_http2(peer));
    }

    /// Opens what HTTP/1.1 goes over without TLS.
    pub async fn open_plain(
        &self,
        endpoint: Endpoint<'_>,
        keepalive: Option<Keepalive>,
    ) -> Result<UpstreamWire, AttemptError> {
        let socket = match endpoint {
            Endpoint::Tcp(address) => TcpStream::connect(address).await.map(Socket::Tcp),
            Endpoint::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix),
        };
        let socket =
            socket.and_then(|socket| socket.set_nodelay().map(|()| socket)).map_err(OpenError::from)?;
        if let (Endpoint::Tcp(_), Some(keepalive)) = (endpoint, keepalive) {
            keepalive.apply(&socket2::SockRef::from(&socket));
        }
        Ok(UpstreamWire::Plain(socket))
    }

    /// Opens what HTTP/1.1 goes over with TLS.
    pub async fn open_tls(&self, peer: &TlsPeer) -> Result<UpstreamWire, AttemptError> {
        self.pingora().open_tls(peer).await.map(UpstreamWire::Tls).map_err(failed)
    }

    /// Opens a connection of HTTP/2, and a stream on it.
    pub async fn open_http2(&self, peer: &TlsPeer) -> Result<Http2Stream, AttemptError> {
        self.pingora().open_http2(peer).await.map_err(failed)?.ok_or(AttemptError::NoHttp2)
    }
}

fn failed(error: OpenError) -> AttemptError {
    match error.tls {
        Some(TlsProblem::IsAuthority) => AttemptError::ServedByAuthority,
        Some(TlsProblem::NotTls) => AttemptError::NotTls,
        None => error.into(),
    }
}
