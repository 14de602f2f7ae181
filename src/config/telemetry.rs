//! The access log and the metrics: the `access_log` and `metrics` sections.

use std::path::PathBuf;

use super::key::Entry::Value as Scalar;
use super::key::{Key, Many, Section, key, optional};
use super::keys::{Keys, Written};
use super::tree::Value;
use super::values::ValueShape::{AnyOf, Off, Text, Words};
use super::values::{self, MODEL, Parsed, Problem, ValueKind, Word, one_of, text, word};

pub static ACCESS_LOG: Section = Section {
    can_be_off: true,
    example: "{ path: /var/log/sidestream/access.log }",
    ..Section::new(
        "access_log",
        "0.1.0",
        "One JSON line for each request (docs/access-log.md).",
        &[Scalar(&LOG_PATH.row), Scalar(&FORMAT.row)],
    )
};

/// Any path but the words of [`values::means_off`].
const FILE: &str = "^(?!(?:[Oo][Ff][Ff]|[Nn][Oo]?|[Nn][Oo][Nn][Ee]|[Nn][Ee][Vv][Ee][Rr]|[Dd][Ii][Ss][Aa][Bb][Ll][Ee][Dd]?)$).";

pub static LOG_PATH: Key<AccessLogPolicy> = key(
    "path",
    "0.1.0",
    ValueKind {
        name: "`stdout`, a file or `off`",
        shape: AnyOf(&[Text(FILE), Off]),
        read: log_path,
        show: |path| match path {
            AccessLogPolicy::Off => "off".to_owned(),
            path => text(&path.to_string()),
        },
    },
    "stdout",
    "Standard output or a file. SIGUSR1 opens the file again.",
)
.example("/var/log/sidestream/access.log");

pub static FORMAT: Key<()> = key(
    "format",
    "0.1.0",
    ValueKind {
        name: "word",
        shape: Words(|| vec!["json"]),
        read: |value| one_of(value, vec![("json", ())], &[]),
        show: |()| "json".to_owned(),
    },
    "json",
    "The format: `json`.",
);

pub static METRICS: Section = Section {
    example: "{ buckets: otel, models: [gpt-4o, llama-3] }",
    ..Section::new(
        "metrics",
        "0.1.0",
        "The metrics (docs/metrics.md).",
        &[Scalar(&BUCKETS.row), Scalar(&MODELS.row)],
    )
};

pub static BUCKETS: Key<BucketPreset> = key(
    "buckets",
    "0.1.0",
    word::<BucketPreset>(),
    "wide",
    "The buckets of the histograms of streams: 5ms to 10 minutes (`wide`), or those of OpenTelemetry (`otel`) or vLLM (`vllm`).",
);

pub static MODELS: Key<String> = optional(
    "models",
    "0.1.0",
    MODEL,
    "[gpt-4o, llama-3]",
    "The values of the label `model`. All other models are counted as `other`.",
)
.many(Many::List);

/// The settings of the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsPolicy {
    /// The buckets of the histograms of streams.
    pub buckets: BucketPreset,
    /// The values of the label `model`, besides `other`.
    pub models: Vec<String>,
}

impl Default for MetricsPolicy {
    fn default() -> Self {
        Keys::defaults(&METRICS, metrics)
    }
}

/// The buckets of the histograms of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketPreset {
    /// From 5 ms to 10 minutes: prefill of long prompts on busy hardware takes minutes.
    Wide,
    /// Those that OpenTelemetry recommends (semantic conventions for generative AI metrics).
    Otel,
    /// Those of vLLM's own histograms, so that both can be compared (vllm/v1/metrics/loggers.py).
    Vllm,
}

impl Word for BucketPreset {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("wide", Self::Wide), ("otel", Self::Otel), ("vllm", Self::Vllm)]
    }
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogPolicy {
    /// Nowhere.
    Off,
    /// To standard output.
    Stdout,
    /// To this file, which SIGUSR1 opens again.
    File(PathBuf),
}

impl std::fmt::Display for AccessLogPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Reads `access_log`.
pub fn access_log(root: &mut Keys) -> AccessLogPolicy {
    let policy = root.section(&ACCESS_LOG, |mut keys| {
        let policy = keys.get(&LOG_PATH);
        keys.get(&FORMAT);
        keys.finish();
        policy
    });
    match policy {
        Written::Nothing => LOG_PATH.default(),
        Written::Off => AccessLogPolicy::Off,
        Written::Keys(policy) => policy,
    }
}

fn log_path(value: &Value) -> Parsed<AccessLogPolicy> {
    match value.as_str() {
        _ if values::is_off(value) => Ok(AccessLogPolicy::Off),
        Some("stdout") => Ok(AccessLogPolicy::Stdout),
        // A file could be called `none`, but that is more likely a mistake.
        Some(path) if !path.is_empty() && !values::means_off(value) => Ok(AccessLogPolicy::File(path.into())),
        _ => {
            let remedy = "write the path of a file, `stdout`, or `off`";
            Err(values::or_off(value, Problem::not(value, "a path", remedy)))
        }
    }
}

/// Reads `metrics`.
pub fn metrics(mut keys: Keys) -> MetricsPolicy {
    let buckets = keys.get(&BUCKETS);
    let models = keys.list(&MODELS).unwrap_or_default();
    keys.finish();
    MetricsPolicy { buckets, models }
}
