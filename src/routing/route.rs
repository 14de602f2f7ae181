//! A route at run time.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::config;
use crate::telemetry::metrics::RouteMetrics;
use crate::upstream::Upstream;

/// A route with everything it needs at run time.
pub struct Route {
    /// The names of the route and of its upstream.
    pub names: [Arc<str>; 2],
    pub config: Arc<config::RouteConfig>,
    pub upstream: Arc<Upstream>,
    /// The effective limit per client: the route's own, or else the one shared by all routes without their own.
    pub per_client: Option<config::PerClientLimit>,
    pub metrics: Arc<RouteMetrics>,
    /// The hint that `terminal` could detect the end of this route's streams has been logged. It is logged once.
    pub has_hinted: AtomicBool,
}
