//! Prints the servers of an upstream and what a group of them goes by.

use std::fmt::{Result, Write};

use super::effective::{duration, key, number, text};
use super::group_keys::{BALANCE, FAILOVER_ON};
use super::stream_keys::word_for;
use super::{
    Balance, FailoverPolicy, HashPolicy, HealthPolicy, OutlierPolicy, PerClientLimit, QueuePolicy,
    ServerConfig, UpstreamConfig,
};

pub fn write_group(out: &mut String, upstream: &UpstreamConfig) -> Result {
    writeln!(out, "    servers:")?;
    for server in &upstream.servers {
        writeln!(out, "      - {}", self::server(server))?;
    }
    writeln!(out, "    balance: {}", word_for(&BALANCE, &upstream.balance))?;
    if upstream.balance == Balance::Hash {
        writeln!(out, "    hash: {}", hash(&upstream.hash))?;
    }
    writeln!(out, "    queue: {}", queue(&upstream.queue))?;
    writeln!(out, "    health: {}", upstream.health.as_ref().map_or_else(off, health))?;
    let outlier_detection = upstream.outlier_detection.as_ref().map_or_else(off, outlier_detection);
    writeln!(out, "    outlier_detection: {outlier_detection}")?;
    writeln!(out, "    failover: {}", failover(&upstream.failover))?;
    writeln!(out, "    slow_start: {}", duration(upstream.slow_start))
}

pub fn per_client(limit: Option<&PerClientLimit>) -> String {
    limit.map_or_else(off, |PerClientLimit { key, max_streams }| {
        format!("{{ key: {}, max_streams: {max_streams} }}", text(&key.to_string()))
    })
}

fn off() -> String {
    "off".to_owned()
}

fn server(server: &ServerConfig) -> String {
    let ServerConfig { origin, weight, max_streams, is_backup, resolve, is_each_address } = server;
    let url = text(&origin.to_string());
    // Written, it has a meaning of its own.
    let resolve =
        if *is_each_address { format!(", resolve: {}", duration(Some(*resolve))) } else { String::new() };
    let max_streams = number(max_streams.as_ref());
    format!("{{ url: {url}{resolve}, weight: {weight}, max_streams: {max_streams}, backup: {is_backup} }}")
}

fn hash(HashPolicy { keys, balance_percent }: &HashPolicy) -> String {
    let keys: Vec<String> = keys.iter().map(|key| text(&key.to_string())).collect();
    let balance_factor = f64::from(*balance_percent) / 100.0;
    format!("{{ key: [{}], balance_factor: {balance_factor} }}", keys.join(", "))
}

fn queue(QueuePolicy { size, timeout, fairness }: &QueuePolicy) -> String {
    let timeout = duration(Some(*timeout));
    let fairness = fairness.as_ref().map_or_else(off, |name| text(&format!("header:{name}")));
    format!("{{ size: {size}, timeout: {timeout}, fairness: {fairness} }}")
}

fn health(policy: &HealthPolicy) -> String {
    let HealthPolicy { path, interval, timeout, fails, passes, headers } = policy;
    let (path, interval, timeout) = (text(path), duration(Some(*interval)), duration(Some(*timeout)));
    let headers: Vec<String> =
        headers.iter().map(|(name, value)| format!("{}: {}", key(name), text(value))).collect();
    let headers = headers.join(", ");
    format!(
        "{{ path: {path}, interval: {interval}, timeout: {timeout}, fails: {fails}, passes: {passes}, headers: {{{headers}}} }}"
    )
}

fn outlier_detection(policy: &OutlierPolicy) -> String {
    let OutlierPolicy { consecutive_failures, base_ejection_time, max_ejection_time, max_ejection_percent } =
        policy;
    let (base, max) = (duration(Some(*base_ejection_time)), duration(Some(*max_ejection_time)));
    format!(
        "{{ consecutive_failures: {consecutive_failures}, base_ejection_time: {base}, max_ejection_time: {max}, \
         max_ejection_percent: {max_ejection_percent}% }}"
    )
}

fn failover(policy: &FailoverPolicy) -> String {
    let FailoverPolicy { on, attempts, first_event_timeout, max_body, budget_percent } = policy;
    let on: Vec<&str> = on.iter().map(|on| word_for(&FAILOVER_ON, on)).collect();
    let (on, first_event_timeout) = (on.join(", "), duration(*first_event_timeout));
    format!(
        "{{ on: [{on}], attempts: {attempts}, first_event_timeout: {first_event_timeout}, max_body: {max_body}, \
         budget: {budget_percent}% }}"
    )
}
