//! Prints an upstream: its servers, and how requests are spread over them.

use super::balance_keys::{BALANCE, BALANCE_FACTOR, HASH, HASH_KEYS};
use super::effective::YamlLines;
use super::group::{
    Balance, FailoverPolicy, HashPolicy, HealthPolicy, OutlierPolicy, PerClientLimit, QueuePolicy,
    ServerConfig,
};
use super::group_keys::*;
use super::health_keys::{self, HEALTH};
use super::key::Section;
use super::request_key::{CLIENT_KEY, CLIENT_MAX_STREAMS};
use super::servers::{BACKUP, RESOLVE, SERVER_MAX_STREAMS, SERVERS, URL, WEIGHT};
use super::tls::{CA, SERVER_NAME, UPSTREAM_TLS, VERIFY};
use super::upstream::{
    CONNECT_TIMEOUT, HOST, HTTP2_PING, KEEPALIVE_IDLE, SLOW_START, TCP_KEEPALIVE, UpstreamConfig, VIA,
};
use super::values::{quoted_yaml, text};

pub fn upstream(out: &mut YamlLines, upstream: &UpstreamConfig) {
    out.section(SERVERS.name, |out| {
        upstream.servers.iter().for_each(|server| out.item(|out| out.line(self::server(server))));
    });
    out.line(BALANCE.line(&upstream.balance));
    if upstream.balance == Balance::Hash {
        out.line(hash(&upstream.hash));
    }
    out.line(queue(&upstream.queue));
    out.line(upstream.health.as_ref().map_or_else(|| off(&HEALTH), health));
    let outlier_detection = upstream.outlier_detection.as_ref();
    out.line(outlier_detection.map_or_else(|| off(&OUTLIER_DETECTION), self::outlier_detection));
    out.line(failover(&upstream.failover));
    out.line(SLOW_START.line(&upstream.slow_start));
    out.line(HOST.line(&upstream.host));
    out.line(VIA.line(&upstream.via));
    out.line(CONNECT_TIMEOUT.line(&upstream.connect_timeout));
    out.line(KEEPALIVE_IDLE.line(&upstream.keepalive_idle));
    out.line(TCP_KEEPALIVE.line(&upstream.tcp_keepalive));
    out.line(HTTP2_PING.line(&upstream.http2_ping));
    if upstream.servers.iter().any(|server| server.origin.protocol.is_tls()) {
        let tls = &upstream.tls;
        let lines = [CA.line(&tls.ca), SERVER_NAME.line(&tls.server_name), VERIFY.line(&tls.verify)];
        out.line(UPSTREAM_TLS.line(&lines));
    }
}

/// `section` is the one of the top-level limits or of a route.
pub fn per_client(section: &Section, limit: Option<&PerClientLimit>) -> String {
    limit.map_or_else(
        || off(section),
        |PerClientLimit { key, max_streams }| {
            section.line(&[CLIENT_KEY.line(key), CLIENT_MAX_STREAMS.line(max_streams)])
        },
    )
}

fn off(section: &Section) -> String {
    format!("{}: off", section.name)
}

fn server(server: &ServerConfig) -> String {
    let ServerConfig { origin, weight, max_streams, is_backup, resolve, is_each_address } = server;
    let lines = [
        Some(URL.line(origin)),
        // Without it the name is one server.
        is_each_address.then(|| RESOLVE.line(resolve)),
        Some(WEIGHT.line(weight)),
        Some(SERVER_MAX_STREAMS.line(&Some(*max_streams))),
        Some(BACKUP.line(is_backup)),
    ];
    format!("{{ {} }}", lines.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn hash(HashPolicy { keys, balance_percent }: &HashPolicy) -> String {
    HASH.line(&[HASH_KEYS.list_line(keys), BALANCE_FACTOR.line(balance_percent)])
}

fn queue(QueuePolicy { size, timeout, fairness }: &QueuePolicy) -> String {
    QUEUE.line(&[QUEUE_SIZE_KEY.line(size), QUEUE_TIMEOUT.line(timeout), FAIRNESS.line(fairness)])
}

fn health(policy: &HealthPolicy) -> String {
    let HealthPolicy { path, interval, timeout, fails, passes, headers } = policy;
    let headers: Vec<String> =
        headers.iter().map(|(name, value)| format!("{}: {}", quoted_yaml(name), text(value))).collect();
    HEALTH.line(&[
        health_keys::PATH.line(path),
        health_keys::INTERVAL_KEY.line(interval),
        health_keys::TIMEOUT.line(timeout),
        health_keys::FAILS.line(fails),
        health_keys::PASSES.line(passes),
        format!("{}: {{{}}}", health_keys::HEADERS.row.name, headers.join(", ")),
    ])
}

fn outlier_detection(policy: &OutlierPolicy) -> String {
    let OutlierPolicy { consecutive_failures, base_ejection_time, max_ejection_time, max_ejection_percent } =
        policy;
    OUTLIER_DETECTION.line(&[
        CONSECUTIVE_FAILURES.line(consecutive_failures),
        BASE_EJECTION_TIME.line(base_ejection_time),
        MAX_EJECTION_TIME.line(max_ejection_time),
        MAX_EJECTION_PERCENT.line(max_ejection_percent),
    ])
}

fn failover(policy: &FailoverPolicy) -> String {
    let FailoverPolicy { on, attempts, first_event_timeout, max_body, budget_percent } = policy;
    FAILOVER.line(&[
        ON.list_line(on),
        ATTEMPTS.line(attempts),
        FIRST_EVENT_TIMEOUT.line(first_event_timeout),
        MAX_BODY.line(max_body),
        BUDGET.line(budget_percent),
    ])
}
