//! Metrics, the record and the log are fed from what a session reports.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;

use super::Exchange;
use crate::outcome::Outcome;
use crate::session::{Delivered, Session};
use crate::telemetry::Gathered;
use crate::telemetry::metrics::{GaugeGuard, ModelMetrics};

/// What is observed of one stream.
pub struct Observer {
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
        let metrics = &exchange.route.metrics;
        metrics.count_start();
        Self {
            gathered: Gathered::default(),
            read: 0,
            model: exchange.model(),
            has_token: false,
            waiting,
            _active: GaugeGuard::new(&metrics.active),
        }
    }

    /// Notes that all that was there of the backend has been read.
    pub fn note_read(&mut self, session: &Session, exchange: &Exchange) {
        let new = session.events() - self.read;
        if new > 0 {
            self.read += new;
            self.gathered.read(new, &exchange.route.metrics);
        }
    }

    /// Counts what was just written.
    #[inline]
    pub fn note_delivery(&mut self, delivered: &Delivered, now: Instant, exchange: &Exchange) {
        let metrics = &exchange.route.metrics;
        if delivered.is_heartbeat {
            metrics.heartbeats.inc();
            exchange.record.note_heartbeat();
            return;
        }
        let since_start = || (now - exchange.started).as_secs_f64();
        let at = exchange.record.add(delivered.events, delivered.bytes, now);
        if delivered.events > 0 {
            self.gathered.written(delivered.events, at, metrics);
        }
        metrics.event_bytes.inc_by(delivered.bytes);
        metrics.events.inc_by(delivered.events);
        if delivered.is_first_event {
            self.waiting = None;
            self.model.observe_first_event(since_start());
        }
        if delivered.is_first_token {
            self.note_token(now, exchange);
        } else if delivered.may_be_first_token {
            exchange.record.note_first_token(now);
        }
    }

    fn note_token(&mut self, at: Instant, exchange: &Exchange) {
        self.has_token = true;
        self.model.observe_first_token((at - exchange.started).as_secs_f64());
        exchange.record.note_first_token(at);
    }

    /// Takes notice of what nobody reads any more.
    pub fn note_discarded(&mut self, delivered: &Delivered) {
        if delivered.is_first_event {
            self.waiting = None;
        }
    }

    /// Takes the end of the stream.
    pub fn note_end(&mut self, outcome: Outcome, session: &Session, exchange: &Exchange) {
        self.gathered.flush(&exchange.route.metrics);
        let first_token = session.first_token().map(Instant::from_std);
        if let (Some(at), false) = (first_token, self.has_token) {
            self.note_token(at, exchange);
        }
        let (now, usage) = (Instant::now(), session.usage());
        let since_token = first_token.map(|first| (now - first).as_secs_f64());
        self.model.count_tokens(usage);
        self.model.observe_end(outcome, (now - exchange.started).as_secs_f64(), since_token, usage);
        exchange.record.set_usage(usage);
        exchange.record.set_dialect(session.dialect().name);
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
