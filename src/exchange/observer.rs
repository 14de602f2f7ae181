//! Feeds metrics, the record and the log from the reports of a session.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;

use super::Exchange;
use crate::outcome::Outcome;
use crate::session::{Delivered, Session};
use crate::telemetry::metrics::{GaugeGuard, ModelMetrics, RouteMetrics};
use crate::telemetry::{Gathered, Record};

/// The observations of one stream.
pub struct Observer {
    record: Arc<Record>,
    metrics: Arc<RouteMetrics>,
    gathered: Gathered,
    /// Number of events at the last read from the backend.
    read: u64,
    model: Arc<ModelMetrics>,
    has_token: bool,
    /// Counts the stream as waiting until its first event is delivered.
    waiting: Option<GaugeGuard>,
    /// Counts the stream as active.
    _active: GaugeGuard,
}

impl Observer {
    /// `waiting` counts the stream until its first event.
    pub fn new(exchange: &Exchange, waiting: Option<GaugeGuard>) -> Self {
        let metrics = exchange.route.metrics.clone();
        metrics.count_start();
        exchange.record.count_events(metrics.clone());
        Self {
            record: exchange.record.clone(),
            gathered: Gathered::default(),
            read: 0,
            model: exchange.model(),
            has_token: false,
            waiting,
            _active: GaugeGuard::new(&metrics.active),
            metrics,
        }
    }

    /// Records that all available data of the backend was read.
    pub fn note_read(&mut self, session: &Session) {
        let new = session.events() - self.read;
        if new > 0 {
            self.read += new;
            self.gathered.read(new, &self.metrics);
        }
    }

    /// State that an event needs; see `RunningRelay::touch`.
    #[inline]
    pub fn touch(&self) -> (u64, u64) {
        (self.record.events(), self.read)
    }

    /// Records data that was just written.
    #[inline]
    pub fn note_delivery(&mut self, delivered: &Delivered, now: Instant) {
        let Self { record, metrics, .. } = self;
        if delivered.is_heartbeat {
            metrics.heartbeats.inc();
            record.note_heartbeat();
            return;
        }
        let at = record.add(delivered.events, delivered.bytes, now);
        if delivered.events > 0 {
            self.gathered.written(delivered.events, at, metrics);
        }
        if delivered.is_first_event {
            self.waiting = None;
            self.model.observe_first_event((now - self.record.started()).as_secs_f64());
        }
        if delivered.is_first_token {
            self.note_token(now);
        } else if delivered.may_be_first_token {
            self.record.note_first_token(now);
        }
    }

    fn note_token(&mut self, at: Instant) {
        self.has_token = true;
        self.model.observe_first_token((at - self.record.started()).as_secs_f64());
        self.record.note_first_token(at);
    }

    /// Records data that was discarded because the client has left.
    pub fn note_discarded(&mut self, delivered: &Delivered) {
        if delivered.is_first_event {
            self.waiting = None;
        }
    }

    /// Records the end of the stream.
    pub fn note_end(&mut self, outcome: Outcome, session: &Session, exchange: &Exchange) {
        self.gathered.flush(&self.metrics);
        self.record.report();
        let first_token = session.first_token().map(Instant::from_std);
        if let (Some(at), false) = (first_token, self.has_token) {
            self.note_token(at);
        }
        let (now, usage) = (Instant::now(), session.usage());
        let since_token = first_token.map(|first| (now - first).as_secs_f64());
        self.model.count_tokens(usage);
        self.model.observe_end(outcome, (now - self.record.started()).as_secs_f64(), since_token, usage);
        self.record.set_usage(usage);
        self.record.set_dialect(session.dialect().name);
        hint_at_terminal(outcome, session, exchange);
    }
}

/// Logs once per route that its streams have a terminal event that could be checked.
fn hint_at_terminal(outcome: Outcome, session: &Session, exchange: &Exchange) {
    if outcome == Outcome::Completed
        && exchange.policy().session.detect_truncation
        && session.ended_with_done()
        && !exchange.route.has_hinted.swap(true, Relaxed)
    {
        let route = &exchange.route.config.name;
        tracing::info!(
            route,
            "streams of this route end with [DONE]; set `stream.terminal: \"[DONE]\"` on it to report a stream that ends without \
             it as upstream_truncated"
        );
    }
}
