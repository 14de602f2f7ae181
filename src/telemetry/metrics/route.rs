//! The metric handles of a route.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge};

use super::{Metrics, OTHER_MODEL};
use crate::outcome::{Failure, Fault, Outcome, Phase};
use crate::session::dialect::Usage;

/// The metric handles of a route.
pub struct RouteMetrics {
    /// Requests that wait for the response head or for the first event of the stream.
    pub waiting: IntGauge,
    /// Streams whose response head was sent.
    pub active: IntGauge,
    pub inter_event: Histogram,
    pub events: IntCounter,
    pub event_bytes: IntCounter,
    pub events_per_read: Histogram,
    pub heartbeats: IntCounter,
    pub upstream_header: Histogram,
    error_events: BTreeMap<&'static str, IntCounter>,
    started: IntCounter,
    outcomes: BTreeMap<&'static str, (IntCounter, Histogram)>,
    cancel_propagation: HashMap<Phase, Histogram>,
    pub requests: RequestCounter,
    pub websockets_active: IntGauge,
    pub websocket_received: IntCounter,
    pub websocket_sent: IntCounter,
    websockets: BTreeMap<&'static str, (IntCounter, Histogram)>,
    models: HashMap<String, Arc<ModelMetrics>>,
    other_models: Arc<ModelMetrics>,
}

/// The metric handles of a route and a model.
pub struct ModelMetrics {
    time_to_first_event: Histogram,
    time_to_first_token: Histogram,
    input_tokens: IntCounter,
    output_tokens: IntCounter,
    gen_ai_time_to_first_token: Histogram,
    gen_ai_time_per_output_token: Histogram,
    gen_ai_request_duration: HistogramVec,
    /// For complete answers, which are nearly all. The series is created by the first one.
    gen_ai_complete_duration: OnceLock<Histogram>,
    model: String,
}

/// Counts the requests of a route, or those without one, by the status that the client saw.
pub struct RequestCounter {
    family: IntCounterVec,
    route: String,
    /// For status 200, which is nearly all. The series is created by the first one.
    ok: OnceLock<IntCounter>,
}

impl RequestCounter {
    pub fn count(&self, status: u16) {
        match status {
            200 => self.ok.get_or_init(|| self.of(status)).inc(),
            _ => self.of(status).inc(),
        }
    }

    fn of(&self, status: u16) -> IntCounter {
        self.family.with_label_values(&[self.route.as_str(), &status.to_string()])
    }
}

impl Metrics {
    /// Resolves the handles of a route and creates its series at zero.
    pub fn route(&self, route: &str) -> Arc<RouteMetrics> {
        let by = &[route];
        Arc::new(RouteMetrics {
            waiting: self.waiting.with_label_values(by),
            active: self.active.with_label_values(by),
            inter_event: self.inter_event.with_label_values(by),
            events: self.events.with_label_values(by),
            event_bytes: self.event_bytes.with_label_values(by),
            events_per_read: self.events_per_read.with_label_values(by),
            heartbeats: self.heartbeats.with_label_values(by),
            upstream_header: self.upstream_header.with_label_values(by),
            error_events: Failure::error_event_codes()
                .map(|code| (code, self.error_events.with_label_values(&[route, code])))
                .collect(),
            started: self.streams_started.with_label_values(by),
            outcomes: Outcome::labels()
                .into_iter()
                .map(|outcome| {
                    let labels = &[route, outcome];
                    let duration = self.stream_duration.with_label_values(labels);
                    (outcome, (self.streams.with_label_values(labels), duration))
                })
                .collect(),
            cancel_propagation: Phase::ALL
                .map(|phase| (phase, self.cancel_propagation.with_label_values(&[phase.as_str()])))
                .into(),
            requests: self.requests(route),
            websockets_active: self.websockets_active.with_label_values(by),
            websocket_received: self.websocket_bytes.with_label_values(&[route, "received"]),
            websocket_sent: self.websocket_bytes.with_label_values(&[route, "sent"]),
            websockets: Outcome::labels()
                .into_iter()
                .map(|outcome| {
                    let labels = &[route, outcome];
                    let duration = self.websocket_duration.with_label_values(labels);
                    (outcome, (self.websockets.with_label_values(labels), duration))
                })
                .collect(),
            models: self.models.iter().map(|model| (model.clone(), self.model(route, model))).collect(),
            other_models: self.model(route, OTHER_MODEL),
        })
    }

    fn model(&self, route: &str, model: &str) -> Arc<ModelMetrics> {
        let by = &[route, model];
        Arc::new(ModelMetrics {
            time_to_first_event: self.time_to_first_event.with_label_values(by),
            time_to_first_token: self.time_to_first_token.with_label_values(by),
            input_tokens: self.tokens.with_label_values(&[route, model, "input"]),
            output_tokens: self.tokens.with_label_values(&[route, model, "output"]),
            gen_ai_time_to_first_token: self.gen_ai_time_to_first_token.with_label_values(&[model]),
            gen_ai_time_per_output_token: self.gen_ai_time_per_output_token.with_label_values(&[model]),
            gen_ai_request_duration: self.gen_ai_request_duration.clone(),
            gen_ai_complete_duration: OnceLock::new(),
            model: model.to_owned(),
        })
    }

    /// The counter of the requests of `route`, which is `none` for requests that match no route.
    pub fn requests(&self, route: &str) -> RequestCounter {
        RequestCounter { family: self.requests.clone(), route: route.to_owned(), ok: OnceLock::new() }
    }
}

impl RouteMetrics {
    /// Counts a stream whose response head was sent, or a request that ended before its response head.
    pub fn count_start(&self) {
        self.started.inc();
    }

    /// Counts a stream by its outcome. `seconds`: the time since the request head was read.
    pub fn count_stream(&self, outcome: Outcome, seconds: f64) {
        if let Some((streams, duration)) = self.outcomes.get(outcome.label()) {
            streams.inc();
            duration.observe(seconds);
        }
    }

    /// Counts a WebSocket by its outcome. `seconds`: the time since the request head was read.
    pub fn count_websocket(&self, outcome: Outcome, seconds: f64) {
        if let Some((websockets, duration)) = self.websockets.get(outcome.label()) {
            websockets.inc();
            duration.observe(seconds);
        }
    }

    pub fn count_error_event(&self, fault: Fault) {
        if let Some(counter) = self.error_events.get(fault.failure.facts().code) {
            counter.inc();
        }
    }

    /// `seconds`: from detecting that the client is gone to closing the upstream connection.
    pub fn observe_cancel(&self, phase: Phase, seconds: f64) {
        if let Some(histogram) = self.cancel_propagation.get(&phase) {
            histogram.observe(seconds);
        }
    }

    /// The handles of this model, or those shared by all models that are not configured.
    pub fn model(&self, name: Option<&str>) -> Arc<ModelMetrics> {
        name.and_then(|name| self.models.get(name)).unwrap_or(&self.other_models).clone()
    }
}

impl ModelMetrics {
    /// `seconds`: the time since the request head was read.
    pub fn observe_first_event(&self, seconds: f64) {
        self.time_to_first_event.observe(seconds);
    }

    /// `seconds`: the time since the request head was read.
    pub fn observe_first_token(&self, seconds: f64) {
        self.time_to_first_token.observe(seconds);
        self.gen_ai_time_to_first_token.observe(seconds);
    }

    /// Counts the tokens that the backend reported.
    pub fn count_tokens(&self, usage: Usage) {
        self.input_tokens.inc_by(usage.input_tokens.unwrap_or(0));
        self.output_tokens.inc_by(usage.output_tokens.unwrap_or(0));
    }

    /// Observes the end of a stream. `seconds`: the time since the request head was read. `since_token`: the
    /// time since the first token, if there was one.
    pub fn observe_end(&self, outcome: Outcome, seconds: f64, since_token: Option<f64>, usage: Usage) {
        let by = |error| self.gen_ai_request_duration.with_label_values(&[self.model.as_str(), error]);
        match outcome {
            // An empty label value is an absent label, which stands for success.
            Outcome::Completed => self.gen_ai_complete_duration.get_or_init(|| by("")).observe(seconds),
            failed => by(failed.label()).observe(seconds),
        }
        if let (Outcome::Completed, Some(since_token), Some(tokens @ 2..)) =
            (outcome, since_token, usage.output_tokens)
        {
            // Token counts are below 2^53.
            #[allow(clippy::cast_precision_loss)]
            self.gen_ai_time_per_output_token.observe(since_token / (tokens - 1) as f64);
        }
    }
}
