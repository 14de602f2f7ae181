//! How requests are spread over the servers of an upstream: the keys and their words.

use std::num::NonZeroU32;
use std::time::Duration;

use http::HeaderValue;
use http::uri::PathAndQuery;

use super::issue::{At, ConfigIssue};
use super::keys::{Keys, Node, did_you_mean};
use super::request_key::{fairness, hash_key};
use super::tree::Value;
use super::values::{self, Problem};
use super::{
    Balance, FailoverOn, FailoverPolicy, HashPolicy, HealthPolicy, OutlierPolicy, QueuePolicy, ServerConfig,
};
use crate::http1::{is_one_of, is_token};

pub const BALANCE: [(&str, Balance); 4] = [
    ("least_streams", Balance::LeastStreams),
    ("round_robin", Balance::RoundRobin),
    ("p2c", Balance::PowerOfTwo),
    ("hash", Balance::Hash),
];

pub const FAILOVER_ON: [(&str, FailoverOn); 5] = [
    ("connect", FailoverOn::Connect),
    ("429", FailoverOn::TooManyRequests),
    ("503", FailoverOn::Unavailable),
    ("5xx", FailoverOn::ServerError),
    ("reset", FailoverOn::Reset),
];

/// What frames a request or is for one connection only: those of a probe are the proxy's own.
const NOT_FOR_PROBES: [&str; 10] = [
    "Connection",
    "Content-Length",
    "Expect",
    "HTTP2-Settings",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
];

/// Reads `balance` and `hash`.
pub fn balance(keys: &mut Keys) -> (Balance, HashPolicy) {
    let balance = keys.checked("balance", Balance::LeastStreams, |v| values::word(v, &BALANCE, &[]));
    let is_hash = balance == Some(Balance::Hash);
    let written = keys.take("hash").filter(|node| !node.value.is_null());
    let hash = match written {
        Some(node) if is_hash || balance.is_none() || node.says_nothing() => self::hash(node),
        Some(Node { path, mistakes, .. }) => {
            let remedy = "write that too, or leave this out";
            mistakes.push(ConfigIssue::new(path, "this is for `balance: hash` only", remedy).at(At::Key));
            HashPolicy::default()
        }
        None => {
            if is_hash {
                keys.missing("hash", "say what `balance` goes by: `hash: { key: header:x-session-id }`");
            }
            HashPolicy::default()
        }
    };
    (balance.unwrap_or(Balance::LeastStreams), hash)
}

fn hash(node: Node) -> HashPolicy {
    if node.says_nothing() {
        return HashPolicy::default();
    }
    let mut policy = HashPolicy::default();
    let mut keys = node.keys_such_as("hash: { key: header:x-session-id }");
    match keys.one_or_more("key", hash_key) {
        Some(key) => policy.keys = key,
        None => keys.missing("key", "add `key:` here, such as `key: header:x-session-id`"),
    }
    policy.balance_percent = keys.get("balance_factor", policy.balance_percent, balance_factor);
    keys.finish();
    policy
}

/// Reads `balance_factor`, as a percentage.
fn balance_factor(value: &Value) -> Result<u32, Problem> {
    let factor = value.text().and_then(|text| text.parse::<f64>().ok());
    match factor.filter(|factor| (1.0..=100.0).contains(factor)) {
        Some(factor) => Ok((factor * 100.0).round() as u32),
        None => {
            let problem = format!("{} is not a factor from 1", values::quoted(value));
            let remedy = "write how much more than the mean a server may carry, such as `1.5`, at most `100`";
            Err(values::never_off(value, Problem::new(problem, remedy)))
        }
    }
}

/// Reads `queue` for these servers; `None`: there are mistakes in them.
pub fn queue(mut node: Node, servers: Option<&[ServerConfig]>) -> QueuePolicy {
    let mut policy = QueuePolicy::default();
    if node.says_nothing() || node.is_off() {
        return policy;
    }
    let mut keys = node.keys_such_as("queue: { size: 100, timeout: 30s }");
    policy.size = keys.get("size", policy.size, values::count_or_zero);
    policy.timeout = keys.get("timeout", policy.timeout, values::duration);
    policy.fairness = keys.get("fairness", None, fairness);
    let is_bounded = |server: &ServerConfig| server.max_streams.is_some();
    if policy.size > 0 && servers.is_some_and(|servers| !servers.iter().any(is_bounded)) {
        let path = keys.child("size").collect();
        let problem = "there is nothing to wait for: no server has `max_streams`";
        let remedy = "add `max_streams:` to the upstream, or leave `queue` out";
        keys.mistakes.push(ConfigIssue::new(path, problem, remedy));
    }
    keys.finish();
    policy
}

/// Reads `health`.
pub fn health(mut node: Node) -> Option<HealthPolicy> {
    if node.says_nothing() || node.is_off() {
        return None;
    }
    let mut keys = node.keys_such_as("health: { path: /health }");
    let path = keys.required("path", "such as `path: /health`", probe_path);
    let interval = keys.get("interval", Duration::from_secs(10), values::interval);
    let timeout = keys.get("timeout", Duration::from_secs(5), values::interval);
    let fails = keys.get("fails", const { NonZeroU32::new(3).unwrap() }, values::count);
    let passes = keys.get("passes", NonZeroU32::MIN, values::count);
    let headers = keys.section("headers", probe_headers).unwrap_or_default();
    keys.finish();
    Some(HealthPolicy { path: path?, interval, timeout, fails, passes, headers })
}

fn probe_path(value: &Value) -> Result<String, Problem> {
    let is_path = |path: &&str| {
        path.starts_with('/')
            && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
            && path.parse::<PathAndQuery>().is_ok()
    };
    value.as_str().filter(is_path).map(str::to_owned).ok_or_else(|| {
        let problem = format!("{} is not a path", values::quoted(value));
        Problem::new(problem, "write one that begins with `/`, such as `/health`")
    })
}

fn probe_headers(node: Node) -> Vec<(String, String)> {
    let mut keys = node.keys();
    let mut headers: Vec<(String, String)> = Vec::new();
    for name in keys.names() {
        if let Err(Problem { problem, remedy }) = probe_header_name(&name, &headers) {
            let path = keys.child(&name).collect();
            keys.mistakes.push(ConfigIssue::new(path, problem, remedy).at(At::Key));
        } else if let Some(value) = keys.take(&name).and_then(|node| node.read(probe_header_value)) {
            headers.push((name, value));
        }
    }
    headers
}

fn probe_header_name(name: &str, before: &[(String, String)]) -> Result<(), Problem> {
    if !is_token(name.as_bytes()) {
        return Err(Problem::new("this is not the name of a header", "write one such as `Authorization`"));
    }
    if is_one_of(name.as_bytes(), &NOT_FOR_PROBES) {
        return Err(Problem::new("probes say this themselves where it is needed", "leave it out"));
    }
    if before.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
        return Err(Problem::new("this header is given twice", "keep one of them: capitals mean nothing"));
    }
    Ok(())
}

fn probe_header_value(value: &Value) -> Result<String, Problem> {
    let text = value.text().filter(|text| HeaderValue::from_str(text).is_ok());
    text.map(str::to_owned).ok_or_else(|| {
        let problem = format!("{} is not the value of a header", values::quoted(value));
        Problem::new(problem, "write one line of ASCII, in quotes where YAML needs them")
    })
}

/// Reads `outlier_detection`.
pub fn outlier_detection(mut node: Node) -> Option<OutlierPolicy> {
    let default = OutlierPolicy::default();
    if node.says_nothing() {
        return Some(default);
    }
    if node.is_off() {
        return None;
    }
    let mut keys = node.keys_such_as("outlier_detection: { consecutive_failures: 3 }");
    let consecutive_failures = keys.get("consecutive_failures", default.consecutive_failures, values::count);
    let base = keys.checked("base_ejection_time", default.base_ejection_time, values::duration);
    let max = keys.checked("max_ejection_time", default.max_ejection_time, values::duration);
    if base.zip(max).is_some_and(|(base, max)| base > max) {
        keys.report(
            "`base_ejection_time` is longer than `max_ejection_time`",
            "set both, the first one to the shorter time; they are `10s` and `5m` where nothing is said",
        );
    }
    let max_ejection_percent =
        keys.get("max_ejection_percent", default.max_ejection_percent, values::percentage);
    keys.finish();
    Some(OutlierPolicy {
        consecutive_failures,
        base_ejection_time: base.unwrap_or(default.base_ejection_time),
        max_ejection_time: max.unwrap_or(default.max_ejection_time),
        max_ejection_percent,
    })
}

/// Reads `failover`.
pub fn failover(mut node: Node) -> FailoverPolicy {
    let mut policy = FailoverPolicy::default();
    if node.says_nothing() {
        return policy;
    }
    if node.is_off() {
        return FailoverPolicy { on: Vec::new(), attempts: NonZeroU32::MIN, ..policy };
    }
    let mut keys = node.keys_such_as("failover: { on: [connect, 503] }");
    let is_nothing = |value: &Value| values::is_off(value) || *value == Value::List(Vec::new());
    if keys.take("on").is_some_and(|node| is_nothing(node.value)) {
        policy.on.clear();
    } else if let Some(on) = keys.one_or_more("on", failover_on) {
        policy.on = on;
    }
    policy.attempts = keys.get("attempts", policy.attempts, values::count);
    policy.first_event_timeout = keys.get("first_event_timeout", None, values::duration_or_off);
    policy.max_body = keys.get("max_body", policy.max_body, values::size);
    policy.budget_percent = keys.get("budget", policy.budget_percent, values::percentage);
    if policy.first_event_timeout.is_some() && policy.attempts == NonZeroU32::MIN {
        let path = keys.child("first_event_timeout").collect();
        let problem = "there is no further attempt: `attempts` is 1";
        let remedy = "write `attempts: 2`, or leave this out";
        keys.mistakes.push(ConfigIssue::new(path, problem, remedy));
    }
    keys.finish();
    policy
}

/// An item of `failover.on`.
fn failover_on(value: &Value) -> Result<FailoverOn, Problem> {
    let text = value.text().unwrap_or_default().to_ascii_lowercase();
    let words = FAILOVER_ON.iter().map(|(word, _)| *word);
    values::word(value, &FAILOVER_ON, &[]).map_err(|problem| {
        // The status nearest to another one is not what was meant.
        let remedy = match text.parse::<u16>() {
            Ok(500..=599) => Some("did you mean `5xx`?".to_owned()),
            Ok(_) => None,
            Err(_) => did_you_mean(&text, words),
        };
        Problem { remedy: remedy.unwrap_or(problem.remedy), ..problem }
    })
}
