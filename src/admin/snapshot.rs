//! The data of the live page: metrics summed over all routes, the servers, and notable streams.

use std::time::Instant;

use prometheus::proto::{LabelPair, Metric, MetricFamily};
use serde_json::{Map, Value, json};

use super::upstreams;
use crate::exchange::ProxyState;
use crate::telemetry::Record;
use crate::telemetry::metrics::families::{self, Family};

/// The maximum number of streams in each list.
const LISTED: usize = 10;

/// Builds a snapshot from the gathered metrics and the running streams.
pub fn snapshot(
    families: &[MetricFamily],
    shared: &ProxyState,
    started: Instant,
    is_draining: bool,
) -> Value {
    let of = |family: &Family| families.iter().find(|candidate| candidate.name() == family.name);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime": started.elapsed().as_secs_f64(),
        "draining": is_draining,
        "active": sum(of(&families::STREAMS_ACTIVE)),
        "waiting": sum(of(&families::STREAMS_WAITING)),
        "started": sum(of(&families::STREAMS_STARTED)),
        "events": sum(of(&families::EVENTS)),
        "heartbeats": sum(of(&families::HEARTBEATS)),
        "error_events": sum(of(&families::ERROR_EVENTS)),
        "outcomes": by_label(of(&families::STREAMS), "outcome"),
        "ttfe": distribution(of(&families::TIME_TO_FIRST_EVENT)),
        "ttft": distribution(of(&families::TIME_TO_FIRST_TOKEN)),
        "inter_event": distribution(of(&families::INTER_EVENT)),
        "cancel": distribution(of(&families::CANCEL_PROPAGATION)),
        "upstreams": counted_upstreams(shared, of),
        "slowest": shared.live.top(LISTED, Record::wait),
        "silent": shared.live.top(LISTED, Record::silence),
    })
}

/// The upstreams, with counts since the start.
fn counted_upstreams<'a>(
    shared: &ProxyState,
    of: impl Fn(&Family) -> Option<&'a MetricFamily>,
) -> Vec<Value> {
    let mut upstreams = upstreams::json(shared);
    for upstream in &mut upstreams {
        let by = ("upstream", upstream["name"].as_str().unwrap_or_default());
        let counts = json!({
            "rejected": sum_with(of(&families::QUEUE_REJECTED), &[by]),
            "failovers": sum_with(of(&families::FAILOVERS), &[by, ("result", "switched")]),
            "ejections": sum_with(of(&families::SERVER_EJECTIONS), &[by]),
            "cooldowns": sum_with(of(&families::SERVER_COOLDOWNS), &[by]),
        });
        upstream["counts"] = counts;
    }
    upstreams
}

/// The sum of the counters with these labels.
fn sum_with(family: Option<&MetricFamily>, labels: &[(&str, &str)]) -> f64 {
    let metrics = family.map_or(&[][..], MetricFamily::get_metric);
    let has = |metric: &&Metric| {
        let is_of =
            |pair: &LabelPair, (name, value): &(&str, &str)| pair.name() == *name && pair.value() == *value;
        labels.iter().all(|label| metric.get_label().iter().any(|pair| is_of(pair, label)))
    };
    metrics.iter().filter(has).map(|metric| metric.get_counter().get_value()).sum()
}

fn sum(family: Option<&MetricFamily>) -> f64 {
    let metrics = family.map_or(&[][..], MetricFamily::get_metric);
    metrics.iter().map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value()).sum()
}

fn by_label(family: Option<&MetricFamily>, label: &str) -> Value {
    let mut sums = Map::new();
    for metric in family.map_or(&[][..], MetricFamily::get_metric) {
        let value =
            metric.get_label().iter().find(|pair| pair.name() == label).map_or("", |pair| pair.value());
        let sum = sums.get(value).and_then(Value::as_f64).unwrap_or(0.0) + metric.get_counter().get_value();
        sums.insert(value.to_owned(), json!(sum));
    }
    Value::Object(sums)
}

/// A histogram, summed over its series: the bucket bounds in seconds, the count of each bucket, and the sum.
/// The last bucket has no bound.
fn distribution(family: Option<&MetricFamily>) -> Value {
    let metrics = family.map_or(&[][..], MetricFamily::get_metric);
    let histograms = || metrics.iter().map(Metric::get_histogram);
    let bounds: Vec<f64> =
        histograms().next().map_or(Vec::new(), |h| h.get_bucket().iter().map(|b| b.upper_bound()).collect());
    let bounds: Vec<f64> = bounds.into_iter().filter(|bound| bound.is_finite()).collect();
    let mut counts = vec![0; bounds.len() + 1];
    for histogram in histograms() {
        let mut below = 0;
        for (count, bucket) in counts.iter_mut().zip(histogram.get_bucket()) {
            *count += bucket.cumulative_count() - below;
            below = bucket.cumulative_count();
        }
        counts[bounds.len()] += histogram.get_sample_count() - below;
    }
    let sum: f64 = histograms().map(|h| h.get_sample_sum()).sum();
    json!({ "bounds": bounds, "counts": counts, "sum": sum })
}
