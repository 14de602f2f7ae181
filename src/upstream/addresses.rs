//! Where the server of an upstream is, as far as that is known.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::resolve::{LookupError, Name, Resolver};
use crate::config::{Address, Origin};

/// Where a server of TCP is.
pub enum Addresses {
    Fixed(SocketAddr),
    Named {
        name: Arc<Name>,
        port: u16,
        /// The one that last took a connection when one before it did not.
        preferred: Mutex<Option<SocketAddr>>,
    },
}

impl Addresses {
    /// `None`: it is a unix socket. `interval`: how often a name is looked up.
    pub fn of(server: &Origin, interval: Duration, resolver: &Resolver) -> Option<Self> {
        let Address::Tcp { host, port } = &server.address else { return None };
        Some(match server.literal_ip() {
            Some(ip) => Self::Fixed(SocketAddr::new(ip, *port)),
            None => {
                Self::Named { name: resolver.name(host, interval), port: *port, preferred: Mutex::default() }
            }
        })
    }

    /// In the order in which they are to be tried. Waits for the first look-up of a name.
    pub async fn all(&self) -> Result<Vec<SocketAddr>, LookupError> {
        match self {
            Self::Fixed(address) => Ok(vec![*address]),
            Self::Named { name, .. } => name.addresses().await.map(|found| self.ordered(&found)),
        }
    }

    /// Ready when a name was looked up once more.
    pub async fn looked_up(&self) {
        if let Self::Named { name, .. } = self {
            let mut lookups = name.lookups();
            lookups.mark_unchanged();
            // Whoever looks it up lives as long as its name.
            let _ = lookups.changed().await;
        }
    }

    /// Likewise, as far as they are known now.
    pub fn known(&self) -> Vec<SocketAddr> {
        match self {
            Self::Fixed(address) => vec![*address],
            Self::Named { name, .. } => self.ordered(&name.lookups().borrow().addresses),
        }
    }

    /// Whether the server is there as far as is known: connections to an address that has vanished are not used again.
    pub fn has(&self, address: SocketAddr) -> bool {
        match self {
            Self::Fixed(_) => true,
            Self::Named { name, .. } => {
                name.lookups().borrow().addresses.iter().any(|known| known.ip() == address.ip())
            }
        }
    }

    /// Notes that nobody was there: a name may have moved.
    pub fn note_unreachable(&self) {
        if let Self::Named { name, .. } = self {
            name.doubt();
        }
    }

    /// Notes that this one has taken a connection; `is_first`: no other was tried before it.
    pub fn note_taken(&self, address: SocketAddr, is_first: bool) {
        if let Self::Named { preferred, .. } = self
            && !is_first
        {
            tracing::info!(%address, "this address of the server has answered first, and is tried first from now on");
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
