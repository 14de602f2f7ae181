//! Probes: the `health` section of an upstream.

use std::num::NonZeroU32;
use std::time::Duration;

use http::HeaderValue;
use http::uri::PathAndQuery;

use super::group::HealthPolicy;
use super::issue::{At, ConfigIssue};
use super::key::Entry::Value as Scalar;
use super::key::{Absent, Key, Many, Names, Section, key, optional, required};
use super::keys::Keys;
use super::tree::Value;
use super::values::ValueShape::{AnyOf, Boolean, Number, Text};
use super::values::{COUNT, INTERVAL, Parsed, Problem, ValueKind, text};
use crate::http1::{is_one_of, is_token};

pub static HEALTH: Section = Section {
    can_be_off: true,
    absent: Absent::Default("off"),
    example: "{ path: /health }",
    ..Section::new(
        "health",
        "0.1.0",
        "Health checks. A GET request of a path tells whether a server is up.",
        &[
            Scalar(&PATH.row),
            Scalar(&INTERVAL_KEY.row),
            Scalar(&TIMEOUT.row),
            Scalar(&FAILS.row),
            Scalar(&PASSES.row),
            Scalar(&HEADERS.row),
        ],
    )
};

pub static PATH: Key<String> = required(
    "path",
    "0.1.0",
    ValueKind { name: "path", shape: Text("^/[!\"$-~]*$"), read: probe_path, show: |path| text(path) },
    "/health",
    "The path of the probes, with or without a query. A server is up while the answer is 2xx or 3xx.",
);

pub static INTERVAL_KEY: Key<Duration> =
    key("interval", "0.1.0", INTERVAL, "10s", "The time between two probes of a server.");

pub static TIMEOUT: Key<Duration> =
    key("timeout", "0.1.0", INTERVAL, "5s", "The time for a whole probe, connecting included.");

pub static FAILS: Key<NonZeroU32> =
    key("fails", "0.1.0", COUNT, "3", "Failed probes in a row after which a server is down.");

pub static PASSES: Key<NonZeroU32> =
    key("passes", "0.1.0", COUNT, "1", "Successful probes in a row after which it is up again.");

pub static HEADERS: Key<String> = optional(
    "headers",
    "0.1.0",
    ValueKind {
        name: "header value",
        shape: AnyOf(&[Text("^[\\t -~]*$"), Number { from: f64::MIN, to: f64::MAX, or: "^$" }, Boolean]),
        read: probe_header_value,
        show: |value| text(value),
    },
    "\"Bearer ${PROBE_TOKEN:-secret}\"",
    "Headers of the probes.",
)
.many(Many::Named(&HEADER_NAMES));

static HEADER_NAMES: Names = Names {
    example: "Authorization",
    pattern: || {
        let letter = |c: char| match c {
            c if c.is_ascii_alphabetic() => format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase()),
            c => c.to_string(),
        };
        let others = NOT_FOR_PROBES.map(|name| name.chars().map(letter).collect::<String>()).join("|");
        format!("^(?!(?:{others})$)[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
    },
};

/// Headers that frame a request or belong to one connection. sidestream sets those of a probe itself.
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

/// Reads `health`.
pub fn health(mut keys: Keys) -> Option<HealthPolicy> {
    let path = keys.required(&PATH);
    let interval = keys.get(&INTERVAL_KEY);
    let timeout = keys.get(&TIMEOUT);
    let fails = keys.get(&FAILS);
    let passes = keys.get(&PASSES);
    let headers = probe_headers(&mut keys);
    keys.finish();
    Some(HealthPolicy { path: path?, interval, timeout, fails, passes, headers })
}

fn probe_path(value: &Value) -> Parsed<String> {
    let is_path = |path: &&str| {
        path.starts_with('/')
            && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
            && path.parse::<PathAndQuery>().is_ok()
    };
    value
        .as_str()
        .filter(is_path)
        .map(str::to_owned)
        .ok_or_else(|| Problem::not(value, "a path", "write one that begins with `/`, such as `/health`"))
}

fn probe_headers(keys: &mut Keys) -> Vec<(String, String)> {
    let Some(node) = keys.take(HEADERS.row.name) else { return Vec::new() };
    let mut keys = node.named_entries();
    let mut headers: Vec<(String, String)> = Vec::new();
    for name in keys.names() {
        if let Err(Problem { problem, remedy }) = probe_header_name(&name, &headers) {
            let path = keys.child(&name).collect();
            keys.mistakes.push(ConfigIssue::new(path, problem, remedy).at(At::Key));
        } else if let Some(value) = keys.take(&name).and_then(|node| node.read(HEADERS.kind.read)) {
            headers.push((name, value));
        }
    }
    headers
}

fn probe_header_name(name: &str, before: &[(String, String)]) -> Parsed<()> {
    if !is_token(name.as_bytes()) {
        return Err(Problem::new("this is not the name of a header", "write one such as `Authorization`"));
    }
    if is_one_of(name.as_bytes(), &NOT_FOR_PROBES) {
        return Err(Problem::new("probes set this header themselves if they need it", "leave it out"));
    }
    if before.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
        let remedy = "keep one of them: upper and lower case are the same";
        return Err(Problem::new("this header is given twice", remedy));
    }
    Ok(())
}

fn probe_header_value(value: &Value) -> Parsed<String> {
    let text = value.text().filter(|text| text.is_ascii() && HeaderValue::from_str(text).is_ok());
    text.map(str::to_owned).ok_or_else(|| {
        Problem::not(
            value,
            "the value of a header",
            "write one line of ASCII, in quotes where YAML needs them",
        )
    })
}
