//! The Prometheus metrics. [`families`] lists them; this module registers them and resolves handles.
//!
//! Handles are resolved once per route at start-up. No label is looked up per event. The label sets are
//! bounded: routes, upstreams and models come from the configuration, and the others are enumerations.

mod buckets;
pub mod families;
mod gauge;
mod route;
mod server;
mod upstream;

use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::config::MetricsPolicy;
use families::Family;
pub use gauge::GaugeGuard;
pub use route::{ModelMetrics, RequestCounter, RouteMetrics};
pub use server::{FAILED_STATUSES, ServerMetrics};
pub use upstream::UpstreamMetrics;

/// The value of `model` for requests whose model is not configured in `metrics.models`.
pub const OTHER_MODEL: &str = "other";

/// The registry and all families.
pub struct Metrics {
    registry: Registry,
    models: Vec<String>,
    requests: IntCounterVec,
    streams_started: IntCounterVec,
    streams: IntCounterVec,
    stream_duration: HistogramVec,
    active: IntGaugeVec,
    waiting: IntGaugeVec,
    time_to_first_event: HistogramVec,
    time_to_first_token: HistogramVec,
    inter_event: HistogramVec,
    events: IntCounterVec,
    event_bytes: IntCounterVec,
    events_per_read: HistogramVec,
    heartbeats: IntCounterVec,
    error_events: IntCounterVec,
    tokens: IntCounterVec,
    websockets: IntCounterVec,
    websockets_active: IntGaugeVec,
    websocket_bytes: IntCounterVec,
    websocket_duration: HistogramVec,
    cancel_propagation: HistogramVec,
    upstream_connect: HistogramVec,
    lookups: IntCounterVec,
    server_streams: IntGaugeVec,
    server_up: IntGaugeVec,
    server_selected: IntCounterVec,
    server_failures: IntCounterVec,
    server_ejections: IntCounterVec,
    server_cooldowns: IntCounterVec,
    queue_length: IntGaugeVec,
    queue_size: IntGaugeVec,
    queue_seconds: HistogramVec,
    queue_rejected: IntCounterVec,
    failovers: IntCounterVec,
    failover_budget_exhausted: IntCounterVec,
    upstream_header: HistogramVec,
    connections_open: IntGaugeVec,
    connections_refused: IntCounterVec,
    access_log_dropped: IntCounterVec,
    gen_ai_time_to_first_token: HistogramVec,
    gen_ai_time_per_output_token: HistogramVec,
    gen_ai_request_duration: HistogramVec,
}

impl Metrics {
    /// Registers every family. Fails only if two have the same name.
    pub fn new(policy: &MetricsPolicy) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let r = &registry;
        let (first, between, whole) =
            (policy.buckets.first(), policy.buckets.between(), policy.buckets.whole());
        let metrics = Self {
            models: policy.models.clone(),
            requests: counter(r, &families::REQUESTS)?,
            streams_started: counter(r, &families::STREAMS_STARTED)?,
            streams: counter(r, &families::STREAMS)?,
            stream_duration: histogram(r, &families::STREAM_DURATION, whole)?,
            active: gauge(r, &families::STREAMS_ACTIVE)?,
            waiting: gauge(r, &families::STREAMS_WAITING)?,
            time_to_first_event: histogram(r, &families::TIME_TO_FIRST_EVENT, first)?,
            time_to_first_token: histogram(r, &families::TIME_TO_FIRST_TOKEN, first)?,
            inter_event: histogram(r, &families::INTER_EVENT, between)?,
            events: counter(r, &families::EVENTS)?,
            event_bytes: counter(r, &families::EVENT_BYTES)?,
            events_per_read: histogram(r, &families::EVENTS_PER_READ, buckets::EVENTS_PER_READ)?,
            heartbeats: counter(r, &families::HEARTBEATS)?,
            error_events: counter(r, &families::ERROR_EVENTS)?,
            tokens: counter(r, &families::TOKENS)?,
            websockets: counter(r, &families::WEBSOCKETS)?,
            websockets_active: gauge(r, &families::WEBSOCKETS_ACTIVE)?,
            websocket_bytes: counter(r, &families::WEBSOCKET_BYTES)?,
            websocket_duration: histogram(r, &families::WEBSOCKET_DURATION, whole)?,
            cancel_propagation: histogram(r, &families::CANCEL_PROPAGATION, buckets::CANCEL)?,
            upstream_connect: histogram(r, &families::UPSTREAM_CONNECT, buckets::CONNECT)?,
            lookups: counter(r, &families::LOOKUPS)?,
            server_streams: gauge(r, &families::SERVER_STREAMS)?,
            server_up: gauge(r, &families::SERVER_UP)?,
            server_selected: counter(r, &families::SERVER_SELECTED)?,
            server_failures: counter(r, &families::SERVER_FAILURES)?,
            server_ejections: counter(r, &families::SERVER_EJECTIONS)?,
            server_cooldowns: counter(r, &families::SERVER_COOLDOWNS)?,
            queue_length: gauge(r, &families::QUEUE_LENGTH)?,
            queue_size: gauge(r, &families::QUEUE_SIZE)?,
            queue_seconds: histogram(r, &families::QUEUE_SECONDS, first)?,
            queue_rejected: counter(r, &families::QUEUE_REJECTED)?,
            failovers: counter(r, &families::FAILOVERS)?,
            failover_budget_exhausted: counter(r, &families::FAILOVER_BUDGET_EXHAUSTED)?,
            upstream_header: histogram(r, &families::UPSTREAM_HEADER, first)?,
            connections_open: gauge(r, &families::CONNECTIONS_OPEN)?,
            connections_refused: counter(r, &families::CONNECTIONS_REFUSED)?,
            access_log_dropped: counter(r, &families::ACCESS_LOG_DROPPED)?,
            gen_ai_time_to_first_token: histogram(r, &families::GEN_AI_TIME_TO_FIRST_TOKEN, first)?,
            gen_ai_time_per_output_token: histogram(r, &families::GEN_AI_TIME_PER_OUTPUT_TOKEN, between)?,
            gen_ai_request_duration: histogram(r, &families::GEN_AI_REQUEST_DURATION, whole)?,
            registry: registry.clone(),
        };
        r.register(Box::new(ProcessCollector::for_self()))?;
        let build_info = gauge(r, &families::BUILD_INFO)?;
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        // Creates the series at zero.
        metrics.access_log_dropped();
        metrics.connections_open();
        metrics.connections_refused();
        Ok(metrics)
    }

    pub fn connections_open(&self) -> IntGauge {
        self.connections_open.with_label_values::<&str>(&[])
    }

    pub fn connections_refused(&self) -> IntCounter {
        self.connections_refused.with_label_values::<&str>(&[])
    }

    pub fn access_log_dropped(&self) -> IntCounter {
        self.access_log_dropped.with_label_values::<&str>(&[])
    }

    /// The current values of all metrics.
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// Renders all metrics in the Prometheus text format.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.gather(), &mut text)?;
        Ok(text)
    }
}

fn counter(r: &Registry, family: &Family) -> Result<IntCounterVec, prometheus::Error> {
    let vector = IntCounterVec::new(Opts::new(family.name, family.help), family.labels)?;
    r.register(Box::new(vector.clone()))?;
    Ok(vector)
}

fn gauge(r: &Registry, family: &Family) -> Result<IntGaugeVec, prometheus::Error> {
    let vector = IntGaugeVec::new(Opts::new(family.name, family.help), family.labels)?;
    r.register(Box::new(vector.clone()))?;
    Ok(vector)
}

fn histogram(r: &Registry, family: &Family, buckets: &[f64]) -> Result<HistogramVec, prometheus::Error> {
    let options = HistogramOpts::new(family.name, family.help).buckets(buckets.to_vec());
    let vector = HistogramVec::new(options, family.labels)?;
    r.register(Box::new(vector.clone()))?;
    Ok(vector)
}
