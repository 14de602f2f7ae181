//! Statistics of samples.

use std::time::Duration;

/// A sorted sample of durations.
pub struct Sample(Vec<Duration>);

impl Sample {
    /// Panics on an empty sample.
    pub fn new(mut values: Vec<Duration>) -> Self {
        assert!(!values.is_empty(), "nothing was measured");
        values.sort_unstable();
        Self(values)
    }

    /// The percentile by nearest rank.
    pub fn percentile(&self, percent: usize) -> Duration {
        self.0[(self.0.len() * percent).div_ceil(100).max(1) - 1]
    }

    pub fn max(&self) -> Duration {
        self.percentile(100)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Formats a duration in milliseconds.
pub fn ms(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}
