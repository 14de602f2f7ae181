//! The handles of one upstream.

use prometheus::{Histogram, IntCounter};

use super::Metrics;

/// The handles of one upstream.
#[derive(Clone)]
pub struct UpstreamMetrics {
    pub connect: Histogram,
    lookups: [IntCounter; 2],
}

impl Metrics {
    pub fn upstream(&self, upstream: &str) -> UpstreamMetrics {
        UpstreamMetrics {
            connect: self.upstream_connect.with_label_values(&[upstream]),
            lookups: ["ok", "failed"].map(|result| self.lookups.with_label_values(&[upstream, result])),
        }
    }
}

impl UpstreamMetrics {
    /// Counts a look-up of the name of the upstream's server.
    pub fn count_lookup(&self, is_ok: bool) {
        self.lookups[usize::from(!is_ok)].inc();
    }
}
