//! What requests are served by. A reload replaces all of it at once; requests that run keep what they began with.

use std::sync::{Arc, Weak};

use super::Route;
use crate::config::Limits;
use crate::http1::RequestHead;
use crate::upstream::Upstream;

/// The routes with what they lead to, and the limits.
pub struct RoutingTable {
    pub routes: Vec<Arc<Route>>,
    pub upstreams: Vec<Arc<Upstream>>,
    /// Those of tables before this one: each is there until nothing runs or waits there any more.
    pub leaving: Vec<Weak<Upstream>>,
    pub limits: Limits,
}

impl RoutingTable {
    /// All upstreams that there are, those that are leaving too.
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
