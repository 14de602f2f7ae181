//! Opens one connection to one endpoint; holds the state that all upstreams share.

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

/// Checks that the system's certificate authorities can be read.
pub fn system_authorities() -> Result<(), AuthoritiesError> {
    let mut authorities = RootCertStore::empty();
    for authority in load_native_certs().map_err(|error| AuthoritiesError(error.to_string()))? {
        authorities.add(authority).map_err(|error| AuthoritiesError(error.to_string()))?;
    }
    Ok(())
}

/// Why the system's certificate authorities cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct AuthoritiesError(String);

/// The connection state that all upstreams share.
pub struct Connector {
    /// For TLS and all HTTP/2 connections. A connection is driven by the worker that opened it.
    pingora: PerWorker<PingoraConnector>,
    /// Idle HTTP/1.1 connections. pingora's own pool spawns a task for each returned connection, which costs
    /// more than the exchange.
    pools: PerWorker<Pool>,
    pub resolver: Resolver,
    /// The number of servers created so far.
    groups: AtomicU64,
}

impl Connector {
    /// `ca_file`: authorities that replace the system's. Must be called within a tokio runtime.
    pub fn new(ca_file: Option<&str>, workers: &Workers) -> Self {
        let pingora = PerWorker::new(workers, || PingoraConnector::new(ca_file));
        Self {
            pingora,
            pools: PerWorker::new(workers, Pool::new),
            resolver: Resolver::default(),
            groups: AtomicU64::new(0),
        }
    }

    /// Returns a number that no other server has.
    pub fn next_group(&self) -> u64 {
        self.groups.fetch_add(1, Ordering::Relaxed)
    }

    /// The connector of this worker.
    pub fn pingora(&self) -> &PingoraConnector {
        self.pingora.current()
    }

    /// The idle HTTP/1.1 connections of this worker.
    pub fn pool(&self) -> &Pool {
        self.pools.current()
    }

    /// Closes the idle HTTP/1.1 connections with this key on all workers.
    pub fn close_idle(&self, key: PoolKey) {
        self.pools.iter().for_each(|pool| pool.close(key));
    }

    /// Closes the HTTP/2 connections to this peer that carry no stream, on all workers.
    pub fn close_idle_http2(&self, peer: &TlsPeer) {
        self.pingora.iter().for_each(|pingora| pingora.close_idle_http2(peer));
    }

    /// Opens an HTTP/1.1 connection without TLS.
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

    /// Opens an HTTP/1.1 connection over TLS.
    pub async fn open_tls(&self, peer: &TlsPeer) -> Result<UpstreamWire, AttemptError> {
        self.pingora().open_tls(peer).await.map(UpstreamWire::Tls).map_err(failed)
    }

    /// Opens an HTTP/2 connection and a stream on it.
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
