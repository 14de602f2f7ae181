//! The beginning and the end of a relay, and what happens to both connections then.

use tokio::time::Instant;

use super::Exchange;
use super::body::Body;
use super::observer::Observer;
use super::relay::Relay;
use super::treatment::Stream;
use crate::downstream::{Client, ClientLost};
use crate::outcome::{Failure, Fault, Outcome, Phase};
use crate::session::{Close, End, Format, Session, Setup};
use crate::telemetry::metrics::GaugeGuard;

impl Relay {
    /// `stream` says how the body is read, if it is a stream. `waiting` counts the stream until its first
    /// event. `begun` is the part of the body that was already read.
    pub fn new(
        client: Box<Client>,
        mut exchange: Box<Exchange>,
        waiting: Option<GaugeGuard>,
        stream: Option<Stream>,
        begun: &[u8],
    ) -> Self {
        let asked = stream.map(|_| exchange.asked(client.request())).unwrap_or_default();
        exchange.upload.forget();
        let waiting = waiting.filter(|_| !asked.listens_to_mcp);
        let observer = stream.map(|_| Observer::new(&exchange, waiting));
        let now = Instant::now().into_std();
        let mut session = Session::new(Setup {
            policy: &exchange.route.config.stream.session,
            format: stream.map_or(Format::Opaque, |stream| stream.format),
            conversion: stream.and_then(|stream| stream.conversion),
            dialect: stream.and_then(|stream| stream.dialect),
            asked,
            sent: exchange.waiting.sent(),
            written: exchange.waiting.last_heartbeat(),
            end: exchange.max_duration_end().map(Instant::into_std),
            now,
        });
        if !begun.is_empty() {
            session.handle_bytes(begun, now);
        }
        let relay = Self { client, exchange, session, observer };
        relay.exchange.record.set_phase(relay.phase());
        relay
    }

    /// Ends a stream whose backend failed before it answered, so nothing is relayed.
    pub async fn fail_unanswered(&mut self, fault: Fault) -> Outcome {
        self.session.handle_fault(fault);
        self.finish(None).await
    }

    /// The rest of a body after the session has ended early. On a failure, the upstream connection is closed
    /// first, so that the backend stops working.
    pub fn given_up(&self, body: Body, outcome: Outcome) -> Option<Body> {
        if outcome.fault().is_some() {
            body.connection.distrust();
            return None;
        }
        Some(body)
    }

    /// Ends the client's side as the session decided. `body` is present unless the upstream connection is
    /// broken. A connection that ended cleanly may return to the pool, even if the response in it was
    /// truncated.
    pub async fn finish(&mut self, mut body: Option<Body>) -> Outcome {
        let Some(End { outcome, close, has_error_event }) = self.session.end() else {
            return Outcome::from(Failure::Invalid);
        };
        if let (true, Some(fault)) = (self.exchange.is_grpc, outcome.fault()) {
            Box::pin(self.fail_call(fault)).await;
            return outcome;
        }
        let trailers = match &mut body {
            Some(body) if self.exchange.passes_trailers => body.connection.take_trailers(),
            _ => None,
        };
        let last = self.session.poll_write(Instant::now().into_std()).unwrap_or_default();
        let written = match close {
            Close::Clean => match trailers {
                None => self.client.write_last(last).await,
                Some(trailers) => {
                    self.exchange.note_grpc_status(&trailers);
                    Box::pin(self.client.write_trailers(last, &trailers)).await
                }
            },
            Close::Break if last.is_empty() => Box::pin(self.client.release()).await,
            Close::Break => Box::pin(self.client.write(last)).await,
        };
        match (written, body) {
            (Ok(()), body) => self.close(close, body).await,
            (Err(lost), Some(body)) if outcome.fault().is_none() => {
                if !self.try_read_on(lost) {
                    return Box::pin(self.abandon(body, lost)).await;
                }
                self.close(close, Some(body)).await;
            }
            (Err(_), _) => {
                self.client.abandon();
                return outcome;
            }
        }
        if let (Some(fault), true, false) = (outcome.fault(), has_error_event, self.client.has_left()) {
            self.exchange.route.metrics.count_error_event(fault);
        }
        outcome
    }

    async fn close(&mut self, close: Close, body: Option<Body>) {
        self.note_written(Instant::now());
        if let Some(body) = body
            && self.exchange.upload.is_closed()
            && self.exchange.upload.is_read()
        {
            body.connection.give_back();
        }
        match close {
            // Nothing the client of a gRPC call still sends is needed.
            Close::Clean if self.exchange.is_grpc => self.client.dismiss_request(),
            Close::Clean => self.client.drain().await,
            Close::Break if self.client.has_left() => {}
            Close::Break => Box::pin(self.client.sever()).await,
        }
    }

    /// Sends uploaded data upstream. In a gRPC call, this counts as activity of the stream.
    pub async fn forward_upload(&mut self, body: &mut Body) {
        self.exchange.forward_upload(&mut body.connection).await;
        if self.exchange.is_grpc {
            self.session.handle_read(Instant::now().into_std());
        }
    }

    /// Continues to read the body without a client that is gone, if configured. Returns whether it does.
    pub fn try_read_on(&mut self, lost: ClientLost) -> bool {
        let phase = self.phase();
        let goes_on = self.exchange.try_read_on(&mut self.client, lost, phase);
        if goes_on {
            self.session.discard(self.exchange.max_duration_end().map(Instant::into_std));
        }
        goes_on
    }

    /// Ends the exchange of a lost client. The upstream connection is closed first.
    pub async fn abandon(&mut self, body: Body, lost: ClientLost) -> Outcome {
        let outcome = self.exchange.cancel(body, lost, self.phase()).await;
        self.client.abandon();
        outcome
    }

    fn phase(&self) -> Phase {
        match self.observer {
            Some(_) => Phase::Streaming,
            None => Phase::Body,
        }
    }
}
