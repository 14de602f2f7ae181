//! What all upstreams share: the pools of idle connections, and the authorities of the system.

use std::time::Duration;

use pingora::connectors::http::v2;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::Stream;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v2::client::Http2Session;
use pingora::tls::{RootCertStore, load_native_certs};
use pingora::upstreams::peer::{HttpPeer, Peer};

use super::pool::Pool;

/// Idle connections of HTTP/2 that are kept.
const POOL_SIZE: usize = 1024;

/// A file of authorities without any. pingora reads those of the system otherwise, and panics where it cannot.
pub const NO_AUTHORITIES: &str = "/dev/null";

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

/// Opens connections and keeps the idle ones.
pub struct Connector {
    /// Over TLS, and all of HTTP/2.
    pingora: v2::Connector,
    /// Those of HTTP/1.1. pingora's own pool gives each connection that goes back a task, which costs more than the exchange.
    pub pool: Pool,
}

impl Connector {
    /// `ca_file`: authorities in place of the system's. Must be called within a tokio runtime.
    pub fn new(ca_file: Option<&str>) -> Self {
        let mut options = ConnectorOptions::new(POOL_SIZE);
        options.ca_file = ca_file.map(str::to_owned);
        Self { pingora: v2::Connector::new(Some(options)), pool: Pool::new() }
    }

    fn transport(&self) -> &TransportConnector {
        self.pingora.transport()
    }

    /// Opens a connection for HTTP/1.1 over TLS.
    pub async fn open_tls(&self, peer: &HttpPeer) -> pingora::Result<Stream> {
        self.transport().new_stream(peer).await
    }

    /// Opens a connection for HTTP/2, and a stream on it; `None`: the server does not speak it.
    pub async fn open_http2(&self, peer: &HttpPeer) -> pingora::Result<Option<Http2Session>> {
        match self.pingora.new_http_session::<_, ()>(peer).await? {
            HttpSession::H2(session) => Ok(Some(session)),
            _ => Ok(None),
        }
    }

    /// Opens a stream on a connection that is there, if its server takes one more now.
    ///
    /// pingora's own way looks at the limit only when a connection is put into the pool, and a stream beyond it would wait
    /// for the end of another one.
    pub async fn pooled_http2(&self, peer: &HttpPeer) -> Option<Http2Session> {
        let key = peer.reuse_hash();
        let in_use = self.pingora.in_use_pool().get(key).filter(|connection| !connection.is_closed());
        let connection = in_use.or_else(|| self.pingora.idle_pool().get(&key))?;
        if !connection.can_accept_streams(1) {
            // It is put back when one of its streams ends.
            return None;
        }
        let session = connection.spawn_stream().await.ok()?;
        if connection.more_streams_allowed() {
            self.pingora.in_use_pool().insert(key, connection);
        }
        session
    }

    /// Ends a stream, and keeps its connection for this long after its last one.
    pub fn give_back_http2(&self, session: Http2Session, peer: &HttpPeer, idle: Duration) {
        self.pingora.release_http_session(session, peer, Some(idle));
    }
}
