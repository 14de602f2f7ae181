//! Whether new requests would be served: `/readyz`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::exchange::ProxyState;

/// How long a server may take to accept a connection, so that a probe gets its answer in time.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long an answer stands, so that probes cost a server no more than one connection in this time.
const STANDS: Duration = Duration::from_secs(1);

/// Tells whether new requests would be served.
pub struct Readiness {
    is_draining: Arc<AtomicBool>,
    shared: Arc<ProxyState>,
    /// When some server was last looked for, and whether there was one.
    last: Mutex<Option<(Instant, bool)>>,
}

impl Readiness {
    /// `is_draining`: whether the process is on its way to its end.
    pub fn new(is_draining: Arc<AtomicBool>, shared: Arc<ProxyState>) -> Self {
        Self { is_draining, shared, last: Mutex::new(None) }
    }

    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Says what keeps new requests from being served.
    pub async fn check(&self) -> Result<(), &'static str> {
        if self.is_draining() {
            return Err("draining\n");
        }
        // Whoever asks meanwhile waits for the same answer.
        let mut last = self.last.lock().await;
        let is_reachable = match *last {
            Some((at, is_reachable)) if at.elapsed() < STANDS => is_reachable,
            _ => {
                let is_reachable = self.is_any_reachable().await;
                *last = Some((Instant::now(), is_reachable));
                is_reachable
            }
        };
        if is_reachable { Ok(()) } else { Err("no backend takes connections\n") }
    }

    async fn is_any_reachable(&self) -> bool {
        let mut looks = JoinSet::new();
        for upstream in &self.shared.table.load().upstreams {
            for server in upstream.usable() {
                looks.spawn(async move { server.is_reachable(PATIENCE).await });
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
