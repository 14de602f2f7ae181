//! The hop that a request came over: whom it is from, and what of it is believed.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use super::joined;
use crate::config::Listener;
use crate::http1::{Fields, is_one_of};

pub const X_FORWARDED_FOR: &str = "X-Forwarded-For";
const X_FORWARDED_PROTO: &str = "X-Forwarded-Proto";
const X_FORWARDED_HOST: &str = "X-Forwarded-Host";

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

impl Hop<'_> {
    fn is_trusted(&self) -> bool {
        self.listener.trusted_proxies.contains(self.peer)
    }

    /// The client as far as that is known: the last address of the chain that no trusted proxy has.
    pub fn client(&self, request: &Fields) -> Option<IpAddr> {
        if !self.is_trusted() {
            return self.peer;
        }
        let chain = joined(request.values(X_FORWARDED_FOR));
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

    /// Says in the request that goes upstream whom it is from. `host`: what the client asked for. What a peer says that is not
    /// trusted is dropped.
    pub fn forward(&self, request: &mut Fields, host: Option<&str>) {
        if !self.is_trusted() {
            let mut is_any = false;
            request.retain(|name| {
                let is_dropped = is_one_of(name, &FORWARDING);
                is_any |= is_dropped;
                !is_dropped
            });
            if is_any {
                tell_dropped(self.peer);
            }
        }
        if let Some(peer) = self.peer {
            let mut chain = request.values(X_FORWARDED_FOR).collect::<Vec<_>>().join(&b", "[..]);
            if !chain.is_empty() {
                chain.extend_from_slice(b", ");
            }
            push_address(&mut chain, peer);
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

/// Peers that are told of: any client can send these fields.
const MAX_TOLD: usize = 100;

/// Says once for each peer that what it says is not believed, and what to do if it should be: an application that is told `http` by
/// a proxy in front that speaks TLS may redirect for ever.
#[cold]
fn tell_dropped(peer: Option<IpAddr>) {
    static TOLD: Mutex<BTreeSet<Option<IpAddr>>> = Mutex::new(BTreeSet::new());
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.len() >= MAX_TOLD || !told.insert(peer) {
        return;
    }
    let peer = peer.map_or("unix".to_owned(), |peer| peer.to_string());
    if told.len() == MAX_TOLD {
        tracing::warn!("further peers whose X-Forwarded-* or Forwarded is dropped are not told of");
    }
    tracing::warn!(
        peer,
        "X-Forwarded-* or Forwarded from this peer is dropped, because anybody could send it: if it is a proxy of yours, add \
         `trusted_proxies: [{peer}]` to the listener"
    );
}

/// Adds an address as it is written. What the standard library does for that takes longer than the rest of a head.
fn push_address(text: &mut Vec<u8>, address: IpAddr) {
    let IpAddr::V4(address) = address else {
        // A write to memory does not fail.
        let _ = write!(text, "{address}");
        return;
    };
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            text.push(b'.');
        }
        for (place, from) in [(100, 100), (10, 10), (1, 0)] {
            if octet >= from {
                text.push(b'0' + octet / place % 10);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_everywhere() {
        for address in ["0.9.10.99", "100.101.200.255", "::1", "2001:db8::a"] {
            let mut text = Vec::new();
            push_address(&mut text, address.parse().unwrap_or(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)));
            assert_eq!(String::from_utf8_lossy(&text), address);
        }
    }
}
