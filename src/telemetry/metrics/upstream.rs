//! The metric handles of an upstream.

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec};

use super::Metrics;

/// The metric handles of an upstream.
#[derive(Clone)]
pub struct UpstreamMetrics {
    name: String,
    pub connect: Histogram,
    lookups: [IntCounter; 2],
    queue_length: IntGaugeVec,
    queue_size: IntGaugeVec,
    queue_seconds: HistogramVec,
    queue_rejected: IntCounterVec,
    failovers: IntCounterVec,
    pub failover_budget_exhausted: IntCounter,
}

impl Metrics {
    pub fn upstream(&self, upstream: &str) -> UpstreamMetrics {
        let by = &[upstream];
        let metrics = UpstreamMetrics {
            name: upstream.to_owned(),
            connect: self.upstream_connect.with_label_values(by),
            lookups: ["ok", "failed"].map(|result| self.lookups.with_label_values(&[upstream, result])),
            queue_length: self.queue_length.clone(),
            queue_size: self.queue_size.clone(),
            queue_seconds: self.queue_seconds.clone(),
            queue_rejected: self.queue_rejected.clone(),
            failovers: self.failovers.clone(),
            failover_budget_exhausted: self.failover_budget_exhausted.with_label_values(by),
        };
        // Creates the series at zero.
        for reason in ["full", "timeout", "drain", "no_server"] {
            metrics.queue_rejected.with_label_values(&[upstream, reason]);
        }
        for outcome in ["served", "timeout", "client_gone", "drain"] {
            metrics.queue_seconds.with_label_values(&[upstream, outcome]);
        }
        for cause in ["connect", "429", "503", "5xx", "reset", "first_event_timeout"] {
            for result in ["switched", "none"] {
                metrics.failovers.with_label_values(&[upstream, cause, result]);
            }
        }
        metrics
    }
}

impl UpstreamMetrics {
    /// Sets the gauges of the queue. Called before a scrape.
    pub fn show_queue(&self, length: i64, size: i64) {
        self.queue_length.with_label_values(&[&self.name]).set(length);
        self.queue_size.with_label_values(&[&self.name]).set(size);
    }

    /// Removes the gauges of the queue.
    pub fn hide_queue(&self) {
        // Fails if the gauges were never set.
        let _ = self.queue_length.remove_label_values(&[&self.name]);
        let _ = self.queue_size.remove_label_values(&[&self.name]);
    }

    /// Counts a look-up of the name of a server.
    pub fn count_lookup(&self, is_ok: bool) {
        self.lookups[usize::from(!is_ok)].inc();
    }

    /// Observes the end of a wait in the queue.
    pub fn observe_queued(&self, outcome: &str, seconds: f64) {
        self.queue_seconds.with_label_values(&[self.name.as_str(), outcome]).observe(seconds);
    }

    /// Counts a request that got no server.
    pub fn count_rejected(&self, reason: &str) {
        self.queue_rejected.with_label_values(&[self.name.as_str(), reason]).inc();
    }

    /// Counts a failover. `has_switched`: another server was found.
    pub fn count_failover(&self, cause: &str, has_switched: bool) {
        let result = if has_switched { "switched" } else { "none" };
        self.failovers.with_label_values(&[self.name.as_str(), cause, result]).inc();
    }
}
