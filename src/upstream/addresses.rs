//! The known addresses of an upstream server.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::resolve::{LookupError, Name, Resolver};
use crate::config::{Address, Origin};

/// The addresses of a TCP server.
pub enum Addresses {
    Fixed(SocketAddr),
    Named {
        name: Arc<Name>,
        port: u16,
        /// The address that last accepted a connection before an address ahead of it in the list. It is tried
        /// first.
        preferred: Mutex<Option<SocketAddr>>,
    },
}

impl Addresses {
    /// Returns `None` for a unix socket. `interval`: the time between look-ups of a name.
    pub fn of(server: &Origin, interval: Duration, resolver: &Resolver) -> Option<Self> {
        let Address::Tcp { host, port } = &server.address else { return None };
        Some(match server.literal_ip() {
            Some(ip) => Self::Fixed(SocketAddr::new(ip, *port)),
            None => {
                Self::Named { name: resolver.name(host, interval), port: *port, preferred: Mutex::default() }
            }
        })
    }

    /// Returns the addresses in the order to try them. Waits for the first look-up of a name.
    pub async fn all(&self) -> Result<Vec<SocketAddr>, LookupError> {
        match self {
            Self::Fixed(address) => Ok(vec![*address]),
            Self::Named { name, .. } => name.addresses().await.map(|found| self.ordered(&found)),
        }
    }

    /// Resolves after the next look-up of the name.
    pub async fn looked_up(&self) {
        if let Self::Named { name, .. } = self {
            let mut lookups = name.lookups();
            lookups.mark_unchanged();
            // The task that looks the name up lives as long as the name, so the sender is never gone.
            let _ = lookups.changed().await;
        }
    }

    /// Like [`Self::all`], but returns what is known now.
    pub fn known(&self) -> Vec<SocketAddr> {
        match self {
            Self::Fixed(address) => vec![*address],
            Self::Named { name, .. } => self.ordered(&name.lookups().borrow().addresses),
        }
    }

    /// Whether the server still has this address. Connections to an address that is gone are not reused.
    pub fn has(&self, address: SocketAddr) -> bool {
        match self {
            Self::Fixed(_) => true,
            Self::Named { name, .. } => {
                name.lookups().borrow().addresses.iter().any(|known| known.ip() == address.ip())
            }
        }
    }

    /// Requests an early look-up after a connection failed: the name may have moved.
    pub fn note_unreachable(&self) {
        if let Self::Named { name, .. } = self {
            name.doubt();
        }
    }

    /// Records that this address accepted a connection. `is_first`: no other address was tried before it.
    pub fn note_taken(&self, address: SocketAddr, is_first: bool) {
        if let Self::Named { preferred, .. } = self
            && !is_first
        {
            tracing::info!(%address, "an earlier address of the server failed or was slow; this one accepted a connection and is now tried first");
            *preferred.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
        }
    }

    fn ordered(&self, found: &[SocketAddr]) -> Vec<SocketAddr> {
        let Self::Named { port, preferred, .. } = self else { return Vec::new() };
        let at_port = |address: &SocketAddr| {
            let mut address = *address;
            address.set_port(*port);
            address
        };
        let mut addresses: Vec<_> = found.iter().map(at_port).collect();
        let preferred = *preferred.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = addresses.iter().position(|address| Some(*address) == preferred) {
            addresses[..=at].rotate_right(1);
        }
        addresses
    }
}
