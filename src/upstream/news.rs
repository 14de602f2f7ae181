//! Logs and counts changes of servers.

use super::group::{Before, Change, Moves};
use super::server::UpstreamServer;

/// `why`: the code of a failure, a status, or the result of a probe.
pub fn change(upstream: &str, server: &UpstreamServer, change: Change, why: &str) {
    let (label, metrics) = (server.label(), server.metrics());
    // Shown only if the server is one of several addresses of its configured name.
    let address = server.address_of_name().map(tracing::field::display);
    let count_ejection = |before, reason| {
        // Counted once, even if both answers and probes find the failure.
        if before == Before::In {
            metrics.count_ejection(reason);
        }
    };
    match change {
        Change::Ejected(before) => {
            count_ejection(before, "outlier");
            tracing::warn!(upstream, server = %label, address, why, "the server failed too often and is ejected: it gets no requests until a trial succeeds, unless no other server is up");
        }
        Change::CoolsDown(pause) => {
            metrics.count_cooldown(why);
            tracing::info!(upstream, server = %label, address, status = why, ?pause, "the server asks for a pause and cools down: it gets no requests for that time, unless no other server is up");
        }
        Change::WentDown(before) => {
            count_ejection(before, "health");
            tracing::warn!(upstream, server = %label, address, why, "health checks fail: the server is down and gets no requests");
        }
        Change::Readmitted => {
            tracing::info!(upstream, server = %label, address, "the trial succeeded: the server gets requests again")
        }
        Change::CameUp => {
            tracing::info!(upstream, server = %label, address, "health checks pass: the server is up again")
        }
    }
}

/// Logs which servers joined, and which leave or are gone.
pub fn moves(upstream: &str, Moves { joined, leaving, gone }: &Moves) {
    let list = |names: &[String]| Some(names.join(", ")).filter(|names| !names.is_empty());
    let (joined, leaving) = (list(joined), list(leaving));
    if joined.is_some() || leaving.is_some() {
        tracing::info!(upstream, joined, leaving, "the servers of the upstream have changed");
    }
    gone.iter().for_each(|server| self::gone(upstream, server));
}

/// Logs that a removed server has no streams left.
pub fn gone(upstream: &str, server: &str) {
    tracing::info!(upstream, %server, "the server has left: it has no streams");
}
