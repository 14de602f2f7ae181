//! The names of the figures, and statistics over rounds.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

pub const CPU: &str = "CPU per event, µs";
pub const CPU_STREAM: &str = "CPU per stream, µs";
pub const CLIENT_CPU: &str = "clients' CPU per event, µs";
pub const BACKEND_CPU: &str = "backend's CPU per event, µs";
pub const RATE: &str = "events/s";
pub const STREAM_RATE: &str = "streams/s";
pub const MEGABYTES: &str = "MB/s";
pub const GATHERED: &str = "events per read";
pub const P50: &str = "latency p50, ms";
pub const P99: &str = "latency p99, ms";
pub const ADDED_P50: &str = "added p50, ms";
pub const ADDED_P99: &str = "added p99, ms";
pub const MEMORY: &str = "KB per stream";
pub const CLOSES: &str = "closes p50, ms";
pub const CLOSES_P99: &str = "closes p99, ms";
pub const GAP_BEFORE: &str = "gap p99 before, ms";
pub const GAP_AFTER: &str = "gap p99 in the second after, ms";
pub const BROKEN: &str = "broken";

/// Figures by name.
pub type Figures = BTreeMap<&'static str, f64>;

/// The number of bootstrap samples.
const DRAWS: usize = 2000;

/// A median with its 90 % confidence interval.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Display for Estimate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}x; {:.2} to {:.2}", self.median, self.low, self.high)
    }
}

impl Estimate {
    /// Estimates by bootstrap: resamples the values of the rounds with replacement.
    pub fn of(values: &[f64]) -> Self {
        let mut random = fastrand::Rng::with_seed(1);
        let mut draw = || median((0..values.len()).map(|_| values[random.usize(..values.len())]).collect());
        let mut medians: Vec<f64> = (0..DRAWS).map(|_| draw()).collect();
        medians.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| medians[(share * (DRAWS - 1) as f64) as usize];
        Self { median: median(values.to_vec()), low: at(0.05), high: at(0.95) }
    }
}

/// The median.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// Percentiles by nearest rank.
pub fn percentiles<const N: usize>(mut sample: Vec<u64>, shares: [f64; N]) -> [f64; N] {
    assert!(!sample.is_empty(), "nothing was measured");
    sample.sort_unstable();
    shares.map(|share| sample[((sample.len() as f64 * share).ceil() as usize).max(1) - 1] as f64)
}

pub fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
