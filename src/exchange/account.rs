//! The end of an exchange: its metrics and its access log line.

use http::StatusCode;

use super::{Ended, Exchange, ResponseKind};
use crate::downstream::Client;
use crate::headers::forwarded::Hop;
use crate::outcome::{Outcome, Phase};
use crate::telemetry::LogLine;

/// The status logged for a client that left before its response, as nginx does. It is never sent.
pub const CLIENT_CLOSED_REQUEST: u16 = 499;

impl Exchange {
    /// Records the outcome. This is the only place where an outcome becomes a metric.
    pub fn end(mut self: Box<Self>, client: &Client, ended: Ended) {
        self.judge_outcome(ended.outcome);
        let ended = match client.left() {
            // Before the response head was sent, the client saw nothing.
            Some(Phase::Prefill) => {
                Ended { outcome: ended.outcome.without_client(Phase::Prefill), status: None, ..ended }
            }
            _ => ended,
        };
        let Ended { outcome, kind, .. } = ended;
        let status = ended.status.as_ref().map_or(CLIENT_CLOSED_REQUEST, StatusCode::as_u16);
        let (metrics, seconds) = (&self.route.metrics, self.started.elapsed().as_secs_f64());
        metrics.requests.count(status);
        match kind {
            ResponseKind::EventStream => metrics.count_stream(outcome, seconds),
            ResponseKind::Unknown => {
                metrics.count_start();
                metrics.count_stream(outcome, seconds);
            }
            ResponseKind::WebSocket { .. } => metrics.count_websocket(outcome, seconds),
            ResponseKind::Other | ResponseKind::Refused => {}
        }
        tracing::debug!(route = self.route.config.name, ?ended, seconds, "request ended");
        if self.proxy.log.is_on() {
            let line = self.log_line(client, outcome, kind);
            self.proxy.log.write(line.end(kind.as_str(), status, self.started.elapsed().as_secs_f64()));
        }
    }

    fn log_line(&self, client: &Client, outcome: Outcome, kind: ResponseKind) -> LogLine {
        let (request, hop) = (client.request(), Hop { peer: client.peer(), listener: &self.listener });
        let mut line = LogLine::of(request, hop.client(&request.fields));
        line.ids(self.record.request_id.as_bytes(), Some((self.trace.trace_id(), self.trace.parent_id())));
        line.record(&self.record, outcome);
        if let ResponseKind::WebSocket { received, closed_by } = kind {
            line.websocket(received, closed_by.filter(|_| outcome == Outcome::Completed));
        }
        line
    }
}
