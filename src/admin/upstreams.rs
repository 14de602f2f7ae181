//! The servers and queues of the upstreams, for `/streams` and the live page.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use crate::config::ServerConfig;
use crate::exchange::ProxyState;
use crate::upstream::{GroupMember, Upstream, UpstreamServer};

/// The configured upstreams, and removed ones with running or queued exchanges. Times are in seconds.
pub fn json(shared: &ProxyState) -> Vec<Value> {
    shared.table.load().all_upstreams().map(|upstream| self::upstream(&upstream)).collect()
}

fn upstream(upstream: &Upstream) -> Value {
    let unresolved = upstream.unresolved();
    let is_removed = upstream.is_removed();
    upstream.look(|group, now| {
        let oldest = group.oldest().map(|since| now.saturating_duration_since(since).as_secs_f64());
        let located = group.members().iter().map(|member| member_json(member, is_removed, now));
        let servers: Vec<Value> = located.chain(unresolved.iter().map(unresolved_json)).collect();
        json!({
            "name": upstream.name(),
            "queue": { "length": group.queued(), "size": group.config().queue.size, "oldest": oldest },
            "servers": servers,
        })
    })
}

fn member_json(member: &GroupMember<Arc<UpstreamServer>>, is_removed: bool, now: Instant) -> Value {
    let standing = &member.standing;
    let (state, until) = match standing.out(now) {
        _ if member.is_leaving || is_removed => ("leaving", None),
        Some((reason, until)) => (reason.as_str(), until),
        None => ("up", None),
    };
    let mut server = server(&member.config, state, standing.slots);
    server["address"] = json!(member.server.address_of_name().map(|address| address.to_string()));
    server["until"] = json!(until.map(|until| until.saturating_duration_since(now).as_secs_f64()));
    server
}

/// An entry of `servers` that stands for all addresses of a name, before any address is known.
fn unresolved_json(config: &ServerConfig) -> Value {
    server(config, "unresolved", 0)
}

fn server(config: &ServerConfig, state: &str, streams: u32) -> Value {
    json!({
        "server": config.origin.to_string(),
        "address": null,
        "state": state,
        "until": null,
        "streams": streams,
        "max_streams": config.max_streams,
        "weight": config.weight,
        "backup": config.is_backup,
    })
}
