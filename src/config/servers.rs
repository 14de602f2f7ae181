//! The servers of an upstream, as the file names them.

use std::num::NonZeroU32;
use std::time::Duration;

use super::ServerConfig;
use super::issue::{ConfigIssue, Step};
use super::keys::{Keys, Node};
use super::origin::{Origin, origin};
use super::tree::Value;
use super::values::{self, Problem};

/// The default of `resolve`.
const DEFAULT_RESOLVE: Duration = Duration::from_secs(10);

/// Reads `servers`, and the upstream's `max_streams`, which holds for those that say nothing of it. `None`: there is a mistake in them.
pub fn servers(keys: &mut Keys) -> Option<Vec<ServerConfig>> {
    let max_streams =
        keys.checked("max_streams", None, |value| values::unless_null(value, values::count_or_off));
    let default = max_streams.flatten();
    let Some(servers) = keys.list("servers", |node| Some(server(node, default))) else {
        keys.missing("servers", "add `servers: [http://127.0.0.1:8000]`");
        return None;
    };
    report_repetitions(keys, &servers);
    let servers = servers.into_iter().collect::<Option<Vec<_>>>().filter(|servers| !servers.is_empty())?;
    if servers.iter().all(|server| server.is_backup) {
        let path = keys.child("servers").collect();
        let remedy = "leave `backup` out where a server is for every day";
        keys.mistakes.push(ConfigIssue::new(path, "every server is a backup", remedy));
    }
    max_streams.and(Some(servers))
}

/// A server: its URL, or a mapping with that and more.
fn server(node: Node, max_streams: Option<NonZeroU32>) -> Option<ServerConfig> {
    if !matches!(node.value, Value::Mapping(_)) {
        return Some(ServerConfig {
            origin: node.read(origin)?,
            weight: NonZeroU32::MIN,
            max_streams,
            is_backup: false,
            resolve: DEFAULT_RESOLVE,
            is_each_address: false,
        });
    }
    let mut keys = node.keys();
    let origin = keys.required("url", "such as `url: http://127.0.0.1:8000`", origin);
    let is_looked_up = origin.as_ref().is_none_or(Origin::has_name);
    let resolve = keys.get("resolve", None, |value| resolve(value, is_looked_up).map(Some));
    let weight = keys.get("weight", NonZeroU32::MIN, values::count);
    let max_streams = keys.checked("max_streams", max_streams, |value| {
        // As if nothing had been written.
        if value.is_null() { Ok(max_streams) } else { values::count_or_off(value) }
    });
    let is_backup = keys.get("backup", false, values::boolean);
    keys.finish();
    Some(ServerConfig {
        origin: origin?,
        weight,
        max_streams: max_streams?,
        is_backup,
        resolve: resolve.unwrap_or(DEFAULT_RESOLVE),
        is_each_address: resolve.is_some(),
    })
}

fn resolve(value: &Value, is_looked_up: bool) -> Result<Duration, Problem> {
    if !is_looked_up {
        let problem = "there is nothing to look up: the server's URL has an IP address or a path";
        return Err(Problem::new(problem, "leave this out, or give the server by its name"));
    }
    values::interval(value)
}

fn report_repetitions(keys: &mut Keys, servers: &[Option<ServerConfig>]) {
    for (index, server) in servers.iter().enumerate() {
        let is_it = |other: &Option<ServerConfig>| {
            server.as_ref().zip(other.as_ref()).is_some_and(|(one, other)| one.origin == other.origin)
        };
        if let Some(first) = servers[..index].iter().position(is_it) {
            let path = keys.child("servers").chain([Step::Index(index)]).collect();
            let problem = format!("this is the same server as `servers[{first}]`");
            let remedy = "name it once; `weight: 2` gives it twice the share of the others";
            keys.mistakes.push(ConfigIssue::new(path, problem, remedy));
        }
    }
}
