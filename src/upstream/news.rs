//! What is logged and counted of servers when something changes about them.

use super::group::{Before, Change, Moves};
use super::server::UpstreamServer;

/// `why`: the code of a failure, a status, or what a probe has found.
pub fn change(upstream: &str, server: &UpstreamServer, change: Change, why: &str) {
    let (label, metrics) = (server.label(), server.metrics());
    // Of several servers that the configuration names as one.
    let address = server.address_of_name().map(tracing::field::display);
    let count_ejection = |before, reason| {
        // It has died once, whoever else finds it dead.
        if before == Before::In {
            metrics.count_ejection(reason);
        }
    };
    match change {
        Change::Ejected(before) => {
            count_ejection(before, "outlier");
            tracing::warn!(upstream, server = %label, address, why, "the server has failed too often: it gets no requests while others are up, until one tries it out");
        }
        Change::CoolsDown(pause) => {
            metrics.count_cooldown(why);
            tracing::info!(upstream, server = %label, address, status = why, ?pause, "the server asks for a pause: it gets no requests meanwhile if others are up");
        }
        Change::WentDown(before) => {
            count_ejection(before, "health");
            tracing::warn!(upstream, server = %label, address, why, "probes say that the server is down: it gets no requests");
        }
        Change::Readmitted => tracing::info!(upstream, server = %label, address, "the server answers again"),
        Change::CameUp => {
            tracing::info!(upstream, server = %label, address, "probes say that the server is up again")
        }
    }
}

/// Which servers have come and which are to go.
pub fn moves(upstream: &str, Moves { joined, leaving, gone }: &Moves) {
    let list = |names: &[String]| Some(names.join(", ")).filter(|names| !names.is_empty());
    let (joined, leaving) = (list(joined), list(leaving));
    if joined.is_some() || leaving.is_some() {
        tracing::info!(upstream, joined, leaving, "the servers of the upstream have changed");
    }
    gone.iter().for_each(|server| self::gone(upstream, server));
}

/// A server that was leaving has ended its last stream, or had none.
pub fn gone(upstream: &str, server: &str) {
    tracing::info!(upstream, %server, "the server has left: it carries no streams any more");
}
