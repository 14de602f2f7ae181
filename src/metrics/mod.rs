//! Every metric in one place: name, help, labels, buckets.
//!
//! Handles are resolved once per route at start-up; nothing on the path of an event looks a label up. Label
//! sets are closed: routes and upstreams come from the configuration, the rest are enumerations here.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::event_stream::ErrorCode;
use crate::proxy::{Outcome, Phase};

/// Seconds. Prefill of long prompts on busy hardware takes minutes, so the buckets reach 600 s.
const TTFE_BUCKETS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0];
/// Seconds.
const INTER_EVENT_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Seconds. The promise is milliseconds; the rest shows when it breaks.
const CANCEL_BUCKETS: &[f64] = &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5];
/// Seconds.
const CONNECT_BUCKETS: &[f64] = &[0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// The families, and what a scrape reads.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    streams: IntCounterVec,
    stream_duration: HistogramVec,
    active: IntGaugeVec,
    waiting: IntGaugeVec,
    time_to_first_event: HistogramVec,
    time_to_first_token: HistogramVec,
    inter_event: HistogramVec,
    events: IntCounterVec,
    event_bytes: IntCounterVec,
    heartbeats: IntCounterVec,
    error_events: IntCounterVec,
    cancel_propagation: HistogramVec,
    upstream_connect: HistogramVec,
}

/// The handles of one route.
pub struct RouteMetrics {
    /// Requests whose response header, or whose stream's first event, is still to come.
    pub waiting: IntGauge,
    /// Event streams whose response header is out.
    pub active: IntGauge,
    pub time_to_first_event: Histogram,
    pub time_to_first_token: Histogram,
    pub inter_event: Histogram,
    pub events: IntCounter,
    pub event_bytes: IntCounter,
    pub heartbeats: IntCounter,
    error_events: HashMap<&'static str, IntCounter>,
    outcomes: HashMap<&'static str, (IntCounter, Histogram)>,
    cancel_propagation: HashMap<Phase, Histogram>,
    pub requests: RequestCounter,
}

/// Requests of one route, or of none, by the status that their clients saw.
pub struct RequestCounter {
    family: IntCounterVec,
    route: String,
}

impl RequestCounter {
    pub fn count(&self, status: u16) {
        self.family.with_label_values(&[self.route.as_str(), &status.to_string()]).inc();
    }
}

impl Metrics {
    /// Registers every family. Fails only if two of them had the same name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("sidestream".to_owned()), None)?;
        let r = &registry;
        let metrics = Self {
            requests: counter(
                r,
                "requests_total",
                "Requests by route and status; 499 is a client that left before the header.",
                &["route", "status"],
            )?,
            streams: counter(
                r,
                "streams_total",
                "Event streams by outcome; requests that ended before their response header count as streams.",
                &["route", "outcome"],
            )?,
            stream_duration: histogram(
                r,
                "stream_duration_seconds",
                "Request head read to the end of the stream, by outcome.",
                TTFE_BUCKETS,
                &["route", "outcome"],
            )?,
            active: gauge(r, "streams_active", "Event streams whose response header is out.", &["route"])?,
            waiting: gauge(
                r,
                "streams_waiting",
                "Requests whose response header, or whose stream's first event, is still to come (prefill).",
                &["route"],
            )?,
            time_to_first_event: histogram(
                r,
                "time_to_first_event_seconds",
                "Request head read to first event delivered; event streams only, heartbeats and comments never count.",
                TTFE_BUCKETS,
                &["route"],
            )?,
            time_to_first_token: histogram(
                r,
                "time_to_first_token_seconds",
                "Request head read to first event with content delivered: roles, starts and pings do not count.",
                TTFE_BUCKETS,
                &["route"],
            )?,
            inter_event: histogram(
                r,
                "inter_event_seconds",
                "Gap between delivered events; written when the stream ends.",
                INTER_EVENT_BUCKETS,
                &["route"],
            )?,
            events: counter(r, "events_total", "Events delivered.", &["route"])?,
            event_bytes: counter(
                r,
                "event_bytes_total",
                "Bytes of event streams delivered, heartbeats and error events aside.",
                &["route"],
            )?,
            heartbeats: counter(r, "heartbeats_total", "Heartbeat comments sent into silence.", &["route"])?,
            error_events: counter(
                r,
                "error_events_total",
                "Error events sent to clients, by code.",
                &["route", "code"],
            )?,
            cancel_propagation: histogram(
                r,
                "cancel_propagation_seconds",
                "Client found gone to upstream connection closed, by phase.",
                CANCEL_BUCKETS,
                &["phase"],
            )?,
            upstream_connect: histogram(
                r,
                "upstream_connect_seconds",
                "Opening an upstream connection; reused ones do not count.",
                CONNECT_BUCKETS,
                &["upstream"],
            )?,
            registry: registry.clone(),
        };
        let build_info = gauge(r, "build_info", "Always 1; the label tells the version.", &["version"])?;
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(metrics)
    }

    /// Resolves the handles of a route; its series exist from now on, at zero.
    pub fn route(&self, route: &str) -> Arc<RouteMetrics> {
        let by = &[route];
        Arc::new(RouteMetrics {
            waiting: self.waiting.with_label_values(by),
            active: self.active.with_label_values(by),
            time_to_first_event: self.time_to_first_event.with_label_values(by),
            time_to_first_token: self.time_to_first_token.with_label_values(by),
            inter_event: self.inter_event.with_label_values(by),
            events: self.events.with_label_values(by),
            event_bytes: self.event_bytes.with_label_values(by),
            heartbeats: self.heartbeats.with_label_values(by),
            error_events: ErrorCode::LABELS
                .map(|code| (code, self.error_events.with_label_values(&[route, code])))
                .into(),
            outcomes: Outcome::LABELS
                .map(|outcome| {
                    let labels = &[route, outcome];
                    let duration = self.stream_duration.with_label_values(labels);
                    (outcome, (self.streams.with_label_values(labels), duration))
                })
                .into(),
            cancel_propagation: Phase::ALL
                .map(|phase| (phase, self.cancel_propagation.with_label_values(&[phase.as_str()])))
                .into(),
            requests: self.requests(route),
        })
    }

    /// The counter of the requests of `route`; `none` for those that no route matches.
    pub fn requests(&self, route: &str) -> RequestCounter {
        RequestCounter { family: self.requests.clone(), route: route.to_owned() }
    }

    /// The histogram of the time it takes to connect to an upstream.
    pub fn upstream_connect(&self, upstream: &str) -> Histogram {
        self.upstream_connect.with_label_values(&[upstream])
    }

    /// Writes everything in the Prometheus text format.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

impl RouteMetrics {
    /// Counts a stream by its outcome; `seconds` since its request's head was read.
    pub fn count_stream(&self, outcome: Outcome, seconds: f64) {
        if let Some((streams, duration)) = self.outcomes.get(outcome.label()) {
            streams.inc();
            duration.observe(seconds);
        }
    }

    pub fn count_error_event(&self, code: ErrorCode) {
        if let Some(counter) = self.error_events.get(code.label()) {
            counter.inc();
        }
    }

    /// `seconds` from the client found gone to the upstream connection closed.
    pub fn observe_cancel(&self, phase: Phase, seconds: f64) {
        if let Some(histogram) = self.cancel_propagation.get(&phase) {
            histogram.observe(seconds);
        }
    }
}

fn counter(
    r: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let family = IntCounterVec::new(Opts::new(name, help), labels)?;
    r.register(Box::new(family.clone()))?;
    Ok(family)
}

fn gauge(r: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
    let family = IntGaugeVec::new(Opts::new(name, help), labels)?;
    r.register(Box::new(family.clone()))?;
    Ok(family)
}

fn histogram(
    r: &Registry,
    name: &str,
    help: &str,
    buckets: &[f64],
    labels: &[&str],
) -> Result<HistogramVec, prometheus::Error> {
    let family = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?;
    r.register(Box::new(family.clone()))?;
    Ok(family)
}
