//! What is measured and logged.

use std::path::PathBuf;

/// What the configuration says about metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricsPolicy {
    pub buckets: BucketPreset,
    /// The values that `model` may have, beside `other`.
    pub models: Vec<String>,
}

/// Which buckets the histograms of streams have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BucketPreset {
    /// From milliseconds to ten minutes: prefill of long prompts on busy hardware takes minutes.
    #[default]
    Wide,
    /// Those that OpenTelemetry recommends (semantic conventions for generative AI metrics).
    Otel,
    /// Those of vLLM's own histograms, so that both can be laid over each other (vllm/v1/metrics/loggers.py).
    Vllm,
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogPolicy {
    Off,
    Stdout,
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
