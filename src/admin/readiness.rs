//! The readiness check: `/readyz`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::exchange::ProxyState;

/// The timeout for connecting to a server, so that the check answers in time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a result is cached, so that checks open at most one connection per server in this time.
const CACHE_TIME: Duration = Duration::from_secs(1);

/// Checks whether new requests can be served.
pub struct Readiness {
    is_draining: Arc<AtomicBool>,
    shared: Arc<ProxyState>,
    /// The time and the result of the last check of the servers.
    last: Mutex<Option<(Instant, bool)>>,
}

impl Readiness {
    /// `is_draining`: whether the process is shutting down.
    pub fn new(is_draining: Arc<AtomicBool>, shared: Arc<ProxyState>) -> Self {
        Self { is_draining, shared, last: Mutex::new(None) }
    }

    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Returns why new requests cannot be served, if so.
    pub async fn check(&self) -> Result<(), &'static str> {
        if self.is_draining() {
            return Err("draining\n");
        }
        // Concurrent checks wait for one result.
        let mut last = self.last.lock().await;
        let is_reachable = match *last {
            Some((at, is_reachable)) if at.elapsed() < CACHE_TIME => is_reachable,
            _ => {
                let is_reachable = self.is_any_reachable().await;
                *last = Some((Instant::now(), is_reachable));
                is_reachable
            }
        };
        if is_reachable { Ok(()) } else { Err("no backend accepts connections\n") }
    }

    async fn is_any_reachable(&self) -> bool {
        let mut looks = JoinSet::new();
        for upstream in &self.shared.table.load().upstreams {
            for server in upstream.usable() {
                looks.spawn(async move { server.is_reachable(CONNECT_TIMEOUT).await });
            }
        }
        while let Some(look) = looks.join_next().await {
            if look.unwrap_or(false) {
                return true;
            }
        }
        false
    }
}
