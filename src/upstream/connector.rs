//! Opening one connection to one endpoint, and what all upstreams share for it.

use tokio::net::{TcpStream, UnixStream};

use super::error::AttemptError;
use super::pool::Pool;
use super::resolve::Resolver;
use super::write_behind::UpstreamWire;
use crate::net::pingora::{
    Http2Stream, OpenError, PingoraConnector, RootCertStore, TlsPeer, TlsProblem, load_native_certs,
};
use crate::net::{Endpoint, Keepalive, Socket};

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
    /// Over TLS, and all of HTTP/2.
    pub pingora: PingoraConnector,
    /// Idle connections of HTTP/1.1. pingora's own pool gives each connection that goes back a task, which costs more than the
    /// exchange.
    pub pool: Pool,
    pub resolver: Resolver,
}

impl Connector {
    /// `ca_file`: authorities in place of the system's. Must be called within a tokio runtime.
    pub fn new(ca_file: Option<&str>) -> Self {
        let (pool, resolver) = (Pool::new(), Resolver::default());
        Self { pingora: PingoraConnector::new(ca_file), pool, resolver }
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
        self.pingora.open_tls(peer).await.map(UpstreamWire::Tls).map_err(failed)
    }

    /// Opens a connection of HTTP/2, and a stream on it.
    pub async fn open_http2(&self, peer: &TlsPeer) -> Result<Http2Stream, AttemptError> {
        self.pingora.open_http2(peer).await.map_err(failed)?.ok_or(AttemptError::NoHttp2)
    }
}

fn failed(error: OpenError) -> AttemptError {
    match error.tls {
        Some(TlsProblem::IsAuthority) => AttemptError::ServedByAuthority,
        Some(TlsProblem::NotTls) => AttemptError::NotTls,
        None => error.into(),
    }
}
