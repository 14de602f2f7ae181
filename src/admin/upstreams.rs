//! The upstreams as `/streams` and the live page show them: their servers, and who waits for one.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use crate::exchange::ProxyState;
use crate::upstream::{GroupMember, Upstream, UpstreamServer};

/// Those of the configuration that runs, and those of earlier ones in which something still runs or waits. Times are in seconds.
pub fn json(shared: &ProxyState) -> Vec<Value> {
    shared.table.load().all_upstreams().map(|upstream| self::upstream(&upstream)).collect()
}

fn upstream(upstream: &Upstream) -> Value {
    upstream.look(|group, now| {
        let oldest = group.oldest().map(|since| now.saturating_duration_since(since).as_secs_f64());
        let servers: Vec<Value> = group
            .members()
            .iter()
            .map(|member| server(member, member.is_leaving || upstream.is_removed(), now))
            .collect();
        json!({
            "name": upstream.name(),
            "queue": { "length": group.queued(), "size": group.config().queue.size, "oldest": oldest },
            "servers": servers,
        })
    })
}

fn server(member: &GroupMember<Arc<UpstreamServer>>, is_leaving: bool, now: Instant) -> Value {
    let (config, standing) = (&member.config, &member.standing);
    let (state, until) = match standing.out(now) {
        _ if is_leaving => ("leaving", None),
        Some((reason, until)) => (reason.as_str(), until),
        None => ("up", None),
    };
    json!({
        "server": &**member.server.label(),
        "address": member.server.address_of_name().map(|address| address.to_string()),
        "state": state,
        "until": until.map(|until| until.saturating_duration_since(now).as_secs_f64()),
        "streams": standing.slots,
        "max_streams": config.max_streams,
        "weight": config.weight,
        "backup": config.is_backup,
    })
}
