//! Idle HTTP/1.1 connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::write_behind::WriteBehind;

/// The maximum number of idle connections of a worker.
const SIZE: usize = 1024;

/// How often expired connections and those closed by their backend are removed.
const SWEEP: Duration = Duration::from_secs(1);

/// Identifies connections that are interchangeable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PoolKey {
    /// The number of the server ([`super::connector::Connector::next_group`]), which also stands for its TLS
    /// settings.
    pub group: u64,
    /// `None` for a unix socket.
    pub address: Option<SocketAddr>,
}

/// The idle connections of a worker to all backends, per key from least to most recently used.
#[derive(Debug)]
pub struct Pool(Arc<Mutex<Idle>>);

#[derive(Debug, Default)]
struct Idle {
    /// A B-tree, because comparing a few keys is faster than hashing one.
    connections: BTreeMap<PoolKey, Vec<(WriteBehind, Instant)>>,
    count: usize,
}

impl Pool {
    /// Must be called within a tokio runtime.
    pub fn new() -> Self {
        let idle = Arc::new(Mutex::new(Idle::default()));
        tokio::spawn(sweep(Arc::downgrade(&idle)));
        Self(idle)
    }

    /// Takes the most recently used connection. Connections that expired, were closed by the backend or
    /// received unsolicited bytes are dropped.
    pub fn take(&self, key: PoolKey) -> Option<WriteBehind> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        loop {
            let (mut stream, until) = idle.connections.get_mut(&key)?.pop()?;
            idle.count -= 1;
            if now < until && stream.is_idle() {
                return Some(stream);
            }
        }
    }

    /// Closes all connections with this key.
    pub fn close(&self, key: PoolKey) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.count -= idle.connections.remove(&key).map_or(0, |connections| connections.len());
    }

    /// Keeps a connection for `idle_for`, unless the pool is full.
    pub fn put(&self, key: PoolKey, stream: WriteBehind, idle_for: Duration) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.count < SIZE {
            idle.count += 1;
            idle.connections.entry(key).or_default().push((stream, Instant::now() + idle_for));
        }
    }
}

async fn sweep(idle: Weak<Mutex<Idle>>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(idle) = idle.upgrade() else { return };
        let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        idle.connections.retain(|_, connections| {
            connections.retain_mut(|(stream, until)| now < *until && stream.is_idle());
            !connections.is_empty()
        });
        idle.count = idle.connections.values().map(Vec::len).sum();
    }
}
