//! The metric handles of a server.

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec};

use super::Metrics;
use crate::outcome::Failure;

/// The statuses that count as failures of a server.
pub const FAILED_STATUSES: [&str; 3] = ["500", "502", "504"];

/// The statuses with which a server asks for a pause.
const PAUSE_STATUSES: [&str; 2] = ["429", "503"];

/// The metric handles of a server. Servers with the same configured name share their series.
pub struct ServerMetrics {
    upstream: String,
    server: String,
    streams: IntGaugeVec,
    up: IntGaugeVec,
    /// Indexed by the position of the reason in `selections`.
    selected: Vec<IntCounter>,
    failures: IntCounterVec,
    ejections: IntCounterVec,
    cooldowns: IntCounterVec,
}

impl Metrics {
    /// `selections`: the values of the `reason` label.
    pub fn server(&self, upstream: &str, server: &str, selections: &[&'static str]) -> ServerMetrics {
        let selected =
            |reason: &&'static str| self.server_selected.with_label_values(&[upstream, server, reason]);
        let metrics = ServerMetrics {
            upstream: upstream.to_owned(),
            server: server.to_owned(),
            streams: self.server_streams.clone(),
            up: self.server_up.clone(),
            selected: selections.iter().map(selected).collect(),
            failures: self.server_failures.clone(),
            ejections: self.server_ejections.clone(),
            cooldowns: self.server_cooldowns.clone(),
        };
        // Creates the series at zero.
        for reason in ["outlier", "health"] {
            metrics.ejections.with_label_values(&[upstream, server, reason]);
        }
        for status in PAUSE_STATUSES {
            metrics.cooldowns.with_label_values(&[upstream, server, status]);
        }
        let codes = Failure::ALL.into_iter().filter(|failure| failure.is_servers());
        for kind in codes.map(|failure| failure.facts().code).chain(FAILED_STATUSES) {
            metrics.failures.with_label_values(&[upstream, server, kind]);
        }
        metrics
    }
}

impl Drop for ServerMetrics {
    /// Removes the gauges. If other servers share the series, the next report creates them again.
    fn drop(&mut self) {
        let by = [self.upstream.as_str(), &self.server];
        // Fails if the gauges were never set.
        let _ = self.streams.remove_label_values(&by);
        let _ = self.up.remove_label_values(&by);
    }
}

impl ServerMetrics {
    /// Sets the gauges. Called before a scrape.
    pub fn show(&self, streams: i64, is_up: bool) {
        let by = [self.upstream.as_str(), &self.server];
        self.streams.with_label_values(&by).set(streams);
        self.up.with_label_values(&by).set(i64::from(is_up));
    }

    /// Counts a choice. `reason`: an index into `selections`.
    pub fn count_selection(&self, reason: usize) {
        if let Some(counter) = self.selected.get(reason) {
            counter.inc();
        }
    }

    /// `kind`: the error code, or the status.
    pub fn count_failure(&self, kind: &str) {
        self.failures.with_label_values(&[self.upstream.as_str(), &self.server, kind]).inc();
    }

    /// `status`: the status that asked for the cooldown.
    pub fn count_cooldown(&self, status: &str) {
        self.cooldowns.with_label_values(&[self.upstream.as_str(), &self.server, status]).inc();
    }

    /// `reason`: `outlier` or `health`.
    pub fn count_ejection(&self, reason: &str) {
        self.ejections.with_label_values(&[self.upstream.as_str(), &self.server, reason]).inc();
    }
}
