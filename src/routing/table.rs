//! The routing table. A reload replaces it atomically; running requests keep the table they started with.

use std::sync::{Arc, Weak};

use super::Route;
use crate::config::Limits;
use crate::http1::RequestHead;
use crate::upstream::Upstream;

/// The routes, their upstreams, and the limits.
pub struct RoutingTable {
    /// In the order of the configuration. The first match wins.
    pub routes: Vec<Arc<Route>>,
    pub upstreams: Vec<Arc<Upstream>>,
    /// Upstreams of earlier tables. Each lives until its last exchange is over.
    pub leaving: Vec<Weak<Upstream>>,
    pub limits: Limits,
}

impl RoutingTable {
    /// All upstreams, including those of earlier tables that still have exchanges.
    pub fn all_upstreams(&self) -> impl Iterator<Item = Arc<Upstream>> {
        self.upstreams.iter().cloned().chain(self.leaving.iter().filter_map(Weak::upgrade))
    }

    /// The first route that matches.
    pub fn route(&self, request: &RequestHead) -> Option<Arc<Route>> {
        let (host, path) = (request.host().map(without_port), request.path());
        self.routes.iter().find(|r| r.config.matcher.matches(&request.method, host, &path)).cloned()
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}
