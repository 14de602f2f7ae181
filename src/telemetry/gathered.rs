//! Observations of a stream that were not yet added to the shared histograms.
//!
//! All threads write to those histograms, so each stream adds several observations at a time. Until then,
//! they are kept in a few adjacent fields. A local histogram per stream would span several cache lines, which
//! are cold when an event arrives.

use std::time::Duration;

use prometheus::Histogram;

use super::metrics::RouteMetrics;

/// The maximum time between flushes while events arrive, in microseconds.
const FLUSH_INTERVAL: u64 = 1_000_000;

/// The number of gaps that are kept between flushes.
const GAPS: usize = 5;

/// Times are in microseconds since the start of the request.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Gaps between events, in microseconds.
    gaps: [u32; GAPS],
    gap_count: u8,
    /// Events that arrived together with the previous one, counted as gaps of 0.
    at_once: u32,
    /// Reads that returned one event.
    single_reads: u32,
    last_event: Option<u64>,
    flushed: u64,
}

impl Gathered {
    /// Observes a read that returned this many events.
    pub fn read(&mut self, events: u64, metrics: &RouteMetrics) {
        if events == 1 {
            self.single_reads += 1;
        } else {
            // Reads are bounded, so the number is small.
            #[allow(clippy::cast_precision_loss)]
            metrics.events_per_read.observe(events as f64);
        }
    }

    /// Observes a write of this many events.
    pub fn written(&mut self, events: u64, now: u64, metrics: &RouteMetrics) {
        match self.last_event.replace(now) {
            Some(last) => self.keep(now.saturating_sub(last), metrics),
            None => self.flushed = now,
        }
        self.at_once += u32::try_from(events.saturating_sub(1)).unwrap_or(u32::MAX);
        let is_full = usize::from(self.gap_count) == GAPS || self.at_once > 0;
        if is_full || now.saturating_sub(self.flushed) >= FLUSH_INTERVAL {
            self.flushed = now;
            self.flush(metrics);
        }
    }

    fn keep(&mut self, gap: u64, metrics: &RouteMetrics) {
        match (u32::try_from(gap), self.gaps.get_mut(usize::from(self.gap_count))) {
            (Ok(gap), Some(place)) => {
                *place = gap;
                self.gap_count += 1;
            }
            // A gap of more than 71 minutes does not fit into 32 bits.
            _ => metrics.inter_event.observe(Duration::from_micros(gap).as_secs_f64()),
        }
    }

    /// Adds the kept observations to the shared histograms.
    pub fn flush(&mut self, metrics: &RouteMetrics) {
        let gaps = self.gaps.iter().take(self.gap_count.into()).map(|gap| f64::from(*gap) / 1e6);
        let at_once = std::iter::repeat_n(0.0, self.at_once as usize);
        observe(&metrics.inter_event, gaps.chain(at_once));
        observe(&metrics.events_per_read, std::iter::repeat_n(1.0, self.single_reads as usize));
        (self.gap_count, self.at_once, self.single_reads) = (0, 0, 0);
    }
}

fn observe(histogram: &Histogram, values: impl Iterator<Item = f64>) {
    let mut values = values.peekable();
    if values.peek().is_none() {
        return;
    }
    let local = histogram.local();
    values.for_each(|value| local.observe(value));
    local.flush();
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;
    use crate::config::MetricsPolicy;
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn observations_are_complete_and_flushed_while_the_stream_runs() {
        let metrics = Metrics::new(&MetricsPolicy::default()).expect("metrics").route("r");
        let (mut gathered, gap) = (Gathered::default(), 10_000);
        for number in 0..100 {
            gathered.read(1, &metrics);
            gathered.written(1, number * gap, &metrics);
        }
        assert!(metrics.inter_event.get_sample_count() >= 95, "{}", metrics.inter_event.get_sample_count());
        gathered.read(300, &metrics);
        gathered.written(300, 100 * gap, &metrics);
        gathered.flush(&metrics);
        assert_eq!(metrics.inter_event.get_sample_count(), 99 + 300);
        assert!((metrics.inter_event.get_sample_sum() - 1.0).abs() < 1e-9);
        assert_eq!(metrics.events_per_read.get_sample_count(), 101);
        assert!((metrics.events_per_read.get_sample_sum() - 400.0).abs() < 1e-9);
    }

    #[test]
    fn a_silence_of_hours_is_observed_exactly() {
        let metrics = Metrics::new(&MetricsPolicy::default()).expect("metrics").route("r");
        let (mut gathered, hours) = (Gathered::default(), 5 * 3_600_000_000);
        gathered.written(1, 0, &metrics);
        gathered.written(1, hours, &metrics);
        assert_eq!(metrics.inter_event.get_sample_count(), 1);
        assert!((metrics.inter_event.get_sample_sum() - 18_000.0).abs() < 1e-9);
    }
}
