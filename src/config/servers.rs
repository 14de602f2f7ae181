//! The servers of an upstream, as the file names them.

use std::num::NonZeroU32;
use std::time::Duration;

use super::ServerConfig;
use super::issue::{ConfigIssue, Step};
use super::key::Entry::Value as Scalar;
use super::key::{Absent, Key, Many, Section, key, optional, required};
use super::keys::{Keys, Node};
use super::origin::{Origin, URL_KIND};
use super::tree::Value;
use super::values::{BOOLEAN, COUNT, INTERVAL, LIMIT};

/// How often the addresses of a name are looked up, where `resolve` is absent.
const LOOK_UP: Duration = Duration::from_secs(10);

pub static SERVERS: Section = Section {
    many: Many::List,
    absent: Absent::Required,
    short_form: Some((&URL.row, "http://127.0.0.1:8000")),
    example: "[http://127.0.0.1:8000, { url: http://10.0.0.2:8000, weight: 2 }]",
    ..Section::new(
        "servers",
        "0.1.0",
        "The servers, each of them once. A server is a URL, or a mapping with `url` and more.",
        &[
            Scalar(&URL.row),
            Scalar(&WEIGHT.row),
            Scalar(&SERVER_MAX_STREAMS.row),
            Scalar(&RESOLVE.row),
            Scalar(&BACKUP.row),
        ],
    )
};

pub static URL: Key<Origin> = required(
    "url",
    "0.1.0",
    URL_KIND,
    "http://llm.internal:8000",
    "Scheme, host and port. `http://` and `https://` speak HTTP/1.1, `h2://` and `h2s://` HTTP/2 without and with TLS, \
     `unix:/PATH` HTTP/1.1 over a unix socket.",
);

pub static WEIGHT: Key<NonZeroU32> = key(
    "weight",
    "0.1.0",
    COUNT,
    "1",
    "The server's share of requests, relative to the weights of the others.",
);

pub static SERVER_MAX_STREAMS: Key<Option<Option<NonZeroU32>>> = key(
    "max_streams",
    "0.1.0",
    LIMIT,
    "null",
    "The streams that the server carries at once. `null` leaves it to `max_streams` of the upstream, `off` lifts that limit.",
)
.example("64");

pub static RESOLVE: Key<Duration> = optional(
    "resolve",
    "0.1.0",
    INTERVAL,
    "10s",
    "Makes each address of the host name a server, and looks the name up this often. Without it the name is one server, whose \
     addresses are tried in turn and looked up every 10s.",
);

pub static BACKUP: Key<bool> = key(
    "backup",
    "0.1.0",
    BOOLEAN,
    "false",
    "Whether the server gets requests only while no other one is up.",
);

pub static MAX_STREAMS: Key<Option<Option<NonZeroU32>>> = key(
    "max_streams",
    "0.1.0",
    LIMIT,
    "null",
    "The streams that each server carries at once, unless it has a limit itself. Further requests wait in the `queue`, or are \
     answered 503.",
)
.example("64");

/// Reads `servers`, and the upstream's `max_streams` that holds for servers without one. `None`: there is a mistake in them.
pub fn servers(keys: &mut Keys) -> Option<Vec<ServerConfig>> {
    let max_streams = keys.checked(&MAX_STREAMS);
    let default = max_streams.flatten().flatten();
    let Some(servers) = keys.sections(&SERVERS, |node| Some(server(node, default))) else {
        keys.missing(SERVERS.name, "add `servers: [http://127.0.0.1:8000]`");
        return None;
    };
    report_repetitions(keys, &servers);
    let servers = servers.into_iter().collect::<Option<Vec<_>>>().filter(|servers| !servers.is_empty())?;
    if servers.iter().all(|server| server.is_backup) {
        let remedy = "leave `backup` out of at least one server";
        keys.report_at(SERVERS.name, "every server is a backup", remedy);
    }
    max_streams.and(Some(servers))
}

fn server(node: Node, max_streams: Option<NonZeroU32>) -> Option<ServerConfig> {
    if !matches!(node.value, Value::Mapping(_)) {
        return Some(ServerConfig {
            origin: node.read(URL.kind.read)?,
            weight: WEIGHT.default(),
            max_streams,
            is_backup: BACKUP.default(),
            resolve: LOOK_UP,
            is_each_address: false,
        });
    }
    let mut keys = node.keys(&SERVERS);
    let origin = keys.required(&URL);
    let has_name = origin.as_ref().is_none_or(Origin::has_name);
    let weight = keys.get(&WEIGHT);
    let resolve = keys.optional(&RESOLVE);
    if resolve.is_some() && !has_name {
        let problem = "there is nothing to look up: the server's URL has an IP address or a path";
        keys.report_at(RESOLVE.row.name, problem, "leave this out, or give the server by its name");
    }
    let limit = keys.checked(&SERVER_MAX_STREAMS);
    let is_backup = keys.get(&BACKUP);
    keys.finish();
    Some(ServerConfig {
        origin: origin?,
        weight,
        max_streams: limit?.unwrap_or(max_streams),
        is_backup,
        resolve: resolve.unwrap_or(LOOK_UP),
        is_each_address: resolve.is_some(),
    })
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
