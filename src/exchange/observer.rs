//! Metrics, the record and the log are fed from what a session reports.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;

use super::Exchange;
use crate::outcome::Outcome;
use crate::session::{Delivered, Session};
use crate::telemetry::metrics::{GaugeGuard, ModelMetrics, RouteMetrics};
use crate::telemetry::{Gathered, Record};

/// What is observed of one stream.
pub struct Observer {
    record: Arc<Record>,
    metrics: Arc<RouteMetrics>,
    gathered: Gathered,
    /// Events that were there when the backend was last read.
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

    /// Notes that all that was there of the backend has been read.
    pub fn note_read(&mut self, session: &Session) {
        let new = session.events() - self.read;
        if new > 0 {
            self.read += new;
            self.gathered.read(new, &self.metrics);
        }
    }

    /// A little of what an event needs.
    #[inline]
    pub fn touch(&self) -> (u64, u64) {
        (self.record.events(), self.read)
    }

    /// Counts what was just written.
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

    /// Takes notice of what nobody reads any more.
    pub fn note_discarded(&mut self, delivered: &Delivered) {
        if delivered.is_first_event {
            self.waiting = None;
        }
    }

    /// Takes the end of the stream.
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

/// Says once for each route that its streams have an end that could be watched for.
fn hint_at_terminal(outcome: Outcome, session: &Session, exchange: &Exchange) {
    if outcome == Outcome::Completed
        && exchange.policy().session.detect_truncation
        && session.ended_with_done()
        && !exchange.route.has_hinted.swap(true, Relaxed)
    {
        let route = &exchange.route.config.name;
        tracing::info!(
            route,
            "streams of this route end with [DONE]: set `stream.terminal: \"[DONE]\"` on it, so that one that ends without it is \
             reported as the error upstream_truncated"
        );
    }
}
