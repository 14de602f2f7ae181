//! A route as it runs.

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
    /// The limit that holds here, whether it is the route's own or that of all routes without one.
    pub per_client: Option<config::PerClientLimit>,
    pub metrics: Arc<RouteMetrics>,
    /// Its log says already that its streams have an end that could be watched for.
    pub has_hinted: AtomicBool,
}
