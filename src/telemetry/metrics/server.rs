//! The handles of one server of an upstream.

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec};

use super::Metrics;
use crate::outcome::Failure;

/// The statuses that count as failures of a server.
pub const FAILED_STATUSES: [&str; 3] = ["500", "502", "504"];

/// The statuses by which a server asks for a pause.
const PAUSE_STATUSES: [&str; 2] = ["429", "503"];

/// The handles of one server. Servers that the configuration names as one have them together.
pub struct ServerMetrics {
    upstream: String,
    server: String,
    streams: IntGaugeVec,
    up: IntGaugeVec,
    /// In the order of the reasons.
    selected: Vec<IntCounter>,
    failures: IntCounterVec,
    ejections: IntCounterVec,
    cooldowns: IntCounterVec,
}

impl Metrics {
    /// `selections`: the values of `reason` for choices.
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
        // The series exist from now on, at zero.
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
    /// Shows nothing of it any more. Where others have the same series, they are shown again with the next report.
    fn drop(&mut self) {
        let by = [self.upstream.as_str(), &self.server];
        // What was never shown is not there.
        let _ = self.streams.remove_label_values(&by);
        let _ = self.up.remove_label_values(&by);
    }
}

impl ServerMetrics {
    /// Shows how it is now, for somebody who is about to read that.
    pub fn show(&self, streams: i64, is_up: bool) {
        let by = [self.upstream.as_str(), &self.server];
        self.streams.with_label_values(&by).set(streams);
        self.up.with_label_values(&by).set(i64::from(is_up));
    }

    /// Counts a choice for this one of the reasons.
    pub fn count_selection(&self, reason: usize) {
        if let Some(counter) = self.selected.get(reason) {
            counter.inc();
        }
    }

    /// `kind`: the code of the failure, or a status.
    pub fn count_failure(&self, kind: &str) {
        self.failures.with_label_values(&[self.upstream.as_str(), &self.server, kind]).inc();
    }

    /// `status`: the one by which it has asked for that.
    pub fn count_cooldown(&self, status: &str) {
        self.cooldowns.with_label_values(&[self.upstream.as_str(), &self.server, status]).inc();
    }

    /// `reason`: `outlier` or `health`.
    pub fn count_ejection(&self, reason: &str) {
        self.ejections.with_label_values(&[self.upstream.as_str(), &self.server, reason]).inc();
    }
}
