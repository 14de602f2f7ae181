//! The hop that a request came over: whom it is from, and what of it is believed.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{self, HeaderName};
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;

use super::hygiene::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, joined};
use crate::config::Listener;

/// What a client could pretend with, and what applications behind proxies read.
const FORWARDING: [HeaderName; 8] = [
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-real-ip"),
];

/// The hop between a client, or the proxy in front, and here.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// `None`: connected to a unix socket.
    pub peer: Option<IpAddr>,
    pub listener: &'a Listener,
}

impl<'a> Hop<'a> {
    pub fn of(session: &ServerSession, listener: &'a Listener) -> Self {
        let peer = session.client_addr().and_then(|address| address.as_inet());
        Self { peer: peer.map(|address| address.ip().to_canonical()), listener }
    }

    fn is_trusted(&self) -> bool {
        self.listener.trusted_proxies.contains(self.peer)
    }

    /// The client as far as that is known: the last address of the chain that no trusted proxy has.
    pub fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        if !self.is_trusted() {
            return self.peer;
        }
        let chain = joined(headers, X_FORWARDED_FOR);
        let mut client = self.peer;
        for address in chain.rsplit(',') {
            let Ok(address) = address.trim().parse::<IpAddr>() else { break };
            client = Some(address.to_canonical());
            if !self.listener.trusted_proxies.contains(client) {
                break;
            }
        }
        client
    }

    /// Says in the request that goes upstream whom it is from. `host`: what the client asked for.
    pub fn forward(&self, request: &mut RequestHeader, host: Option<&str>) -> pingora::Result<()> {
        if !self.is_trusted() {
            for name in &FORWARDING {
                request.remove_header(name);
            }
        }
        if let Some(peer) = self.peer {
            let chain = joined(&request.headers, X_FORWARDED_FOR);
            let chain = if chain.is_empty() { peer.to_string() } else { format!("{chain}, {peer}") };
            request.insert_header(X_FORWARDED_FOR, chain)?;
        }
        if !request.headers.contains_key(X_FORWARDED_PROTO) {
            let scheme = if self.listener.tls.is_some() { "https" } else { "http" };
            request.insert_header(X_FORWARDED_PROTO, scheme)?;
        }
        if let Some(host) = host
            && !request.headers.contains_key(X_FORWARDED_HOST)
        {
            request.insert_header(X_FORWARDED_HOST, host)?;
        }
        Ok(())
    }
}
