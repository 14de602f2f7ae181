//! The hop that a request came over: whom it is from, and what of it is believed.

use std::io::Write;
use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use pingora::protocols::http::ServerSession;

use super::hygiene::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, joined};
use crate::config::Listener;
use crate::head::Fields;

/// What a client could pretend with, and what applications behind proxies read.
const FORWARDING: [&str; 8] = [
    "Forwarded",
    X_FORWARDED_FOR,
    X_FORWARDED_PROTO,
    X_FORWARDED_HOST,
    "X-Forwarded-Port",
    "X-Forwarded-Server",
    "X-Forwarded-Prefix",
    "X-Real-IP",
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
        let chain = joined(headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes));
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
    pub fn forward(&self, request: &mut Fields, host: Option<&str>) {
        if !self.is_trusted() {
            FORWARDING.iter().for_each(|name| request.remove(name));
        }
        if let Some(peer) = self.peer {
            let mut chain = request.values(X_FORWARDED_FOR).collect::<Vec<_>>().join(&b", "[..]);
            // A write to memory does not fail.
            let _ = if chain.is_empty() { write!(chain, "{peer}") } else { write!(chain, ", {peer}") };
            request.set(X_FORWARDED_FOR, chain);
        }
        if !request.contains(X_FORWARDED_PROTO) {
            request.append(X_FORWARDED_PROTO, if self.listener.tls.is_some() { "https" } else { "http" });
        }
        if let Some(host) = host
            && !request.contains(X_FORWARDED_HOST)
        {
            request.append(X_FORWARDED_HOST, host);
        }
    }
}
