//! The proxy under test, between the client and the recorder.

use std::net::SocketAddr;

use super::bodies::MAX_REQUEST_BODY;
use super::peers::{self, Peer};
use crate::kit::{Backend, GENEROUS, Sidestream};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sidestream,
    Peer(Peer),
}

/// The timeouts of the proxy for requests and responses that do not arrive.
#[derive(Clone, Copy)]
pub enum Timeouts {
    /// Incomplete requests time out soon.
    Short,
    /// A closed connection was closed because of its bytes, not because of a timeout.
    Long,
}

pub enum Proxy {
    Sidestream(Sidestream),
    Peer(peers::Running),
}

impl Proxy {
    pub async fn start(kind: Kind, timeouts: Timeouts, backend: &Backend) -> Self {
        let (timeouts, first_event) = match (kind, timeouts) {
            (Kind::Peer(peer), _) => return Self::Peer(peer.start(backend.address).await),
            (Kind::Sidestream, Timeouts::Short) => {
                ("header_timeout: 200ms, keepalive_timeout: 100ms", "400ms")
            }
            (Kind::Sidestream, Timeouts::Long) => ("header_timeout: 1m, keepalive_timeout: 1m", "10s"),
        };
        let proxy = Sidestream::before(&backend.url)
            .listener(timeouts)
            .upstream("keepalive_idle: off")
            .stream(format!("first_event_timeout: {first_event}"))
            .more(format!("limits: {{ max_request_body: {MAX_REQUEST_BODY} }}"));
        Self::Sidestream(proxy.start().await)
    }

    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Sidestream(proxy) => proxy.address,
            Self::Peer(peer) => peer.address,
        }
    }

    /// Waits until the proxy has handled everything that clients have sent.
    pub async fn settled(&self) -> Result<(), String> {
        match self {
            Self::Sidestream(proxy) => {
                let is_over = proxy.reaches("sidestream_connections_open", 0.0);
                let is_over = tokio::time::timeout(GENEROUS, is_over).await;
                is_over.map_err(|_| "the connection of a client that is gone stays open".to_owned())
            }
            // Peers have one thread, which handles bytes in the order in which they were sent.
            Self::Peer(_) => Ok(()),
        }
    }
}
