//! `X-Forwarded-*` and related fields: which ones are trusted, and which address counts as the client's.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use super::joined;
use crate::config::Listener;
use crate::http1::{Fields, is_one_of};

/// The name of the field with the chain of client addresses.
pub const X_FORWARDED_FOR: &str = "X-Forwarded-For";
const X_FORWARDED_PROTO: &str = "X-Forwarded-Proto";
const X_FORWARDED_HOST: &str = "X-Forwarded-Host";

/// Fields that applications behind proxies trust, and that any client can forge.
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

/// The last hop of a request: from the client, or from the proxy in front of sidestream.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// The peer's address. `None`: the connection came over a unix socket.
    pub peer: Option<IpAddr>,
    /// The listener that accepted the connection.
    pub listener: &'a Listener,
}

impl Hop<'_> {
    fn is_trusted(&self) -> bool {
        self.listener.trusted_proxies.contains(self.peer)
    }

    /// The client's address as far as it can be trusted: the last address in the chain that is not a trusted proxy's.
    /// `None`: the peer is on a unix socket and sent no address.
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

    /// Sets the forwarding fields of the request that goes upstream. Those of an untrusted peer are dropped first.
    /// `host`: the host that the client requested.
    pub fn forward(&self, request: &mut Fields, host: Option<&str>) {
        if !self.is_trusted() {
            let mut is_any = false;
            request.retain(|name| {
                let is_dropped = is_one_of(name, &FORWARDING);
                is_any |= is_dropped;
                !is_dropped
            });
            if is_any {
                warn_dropped(self.peer);
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

/// The number of peers that are warned about. Limited, because any client can send these fields.
const MAX_WARNINGS: usize = 100;

/// Warns once per peer that its fields are dropped, and says how to trust it. Without them, an application behind a
/// proxy that terminates TLS sees `http` and may redirect forever.
#[cold]
fn warn_dropped(peer: Option<IpAddr>) {
    static WARNED: Mutex<BTreeSet<Option<IpAddr>>> = Mutex::new(BTreeSet::new());
    let mut warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
    if warned.len() >= MAX_WARNINGS || !warned.insert(peer) {
        return;
    }
    let peer = peer.map_or("unix".to_owned(), |peer| peer.to_string());
    tracing::warn!(
        peer,
        "dropped X-Forwarded-* or Forwarded from this peer, because it is not trusted: if it is your proxy, add \
         `trusted_proxies: [{peer}]` to the listener"
    );
    if warned.len() == MAX_WARNINGS {
        tracing::warn!(
            "dropped X-Forwarded-* or Forwarded from {MAX_WARNINGS} peers; no further ones are logged"
        );
    }
}

/// Appends the textual form of an address. The formatter of the standard library takes longer than the rest of a head.
fn push_address(text: &mut Vec<u8>, address: IpAddr) {
    let IpAddr::V4(address) = address else {
        // Writing to a `Vec` cannot fail.
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
    fn addresses_are_written_in_their_usual_form() {
        for address in ["0.9.10.99", "100.101.200.255", "::1", "2001:db8::a"] {
            let mut text = Vec::new();
            push_address(&mut text, address.parse().unwrap_or(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)));
            assert_eq!(String::from_utf8_lossy(&text), address);
        }
    }
}
