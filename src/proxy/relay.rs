//! The relay: the body of a response on its way from the backend to the client.
//!
//! One loop for both kinds of body. It waits for the backend, the client and one timer at once, takes every chunk
//! that is there, and writes once. An event stream is cut at its boundaries, kept alive and ended with an error
//! event; any other body passes as it is, and is broken off where it breaks.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use tokio::time::{Instant, Sleep, sleep_until};

use super::body::Body;
use super::client::{Client, ClientEvent, ClientLost, poll_once};
use super::clock::{Clock, Due, FAR, Situation};
use super::exchange::{Exchange, Raised};
use super::outcome::{Outcome, Phase, UpstreamFault};
use super::payload::{CleanEnd, Ending, Events, Payload};
use super::response::Stream;
use crate::event_stream::{ErrorCode, heartbeat};
use crate::transport::UpstreamLink;
use crate::upstream::Progress;

/// Bytes that are gathered from the backend before they are written, if that many are there. With one read more, this is what
/// a stream holds whose client reads slowly.
const BATCH: usize = 32 * 1024;

/// What the loop woke up for.
enum Step {
    /// Bytes were taken from the backend.
    Read,
    /// The backend's body ended as its framing says.
    End,
    Fault(UpstreamFault),
    Client(ClientLost),
    /// The client uploaded something, or the backend takes more of it.
    Upload,
}

/// The state of the loop, the upstream connection aside.
pub struct Relay<'a, 'c> {
    client: &'a mut Client<'c>,
    exchange: Box<Exchange<'a>>,
    payload: Payload,
    clock: Clock,
}

impl<'a, 'c> Relay<'a, 'c> {
    /// `stream`: how the body is read, if it is a stream; `waiting` counts it until its first event; `begun`: what was read of the
    /// body before.
    pub fn new(
        client: &'a mut Client<'c>,
        mut exchange: Box<Exchange<'a>>,
        waiting: Option<Raised>,
        stream: Option<Stream>,
        begun: &[u8],
    ) -> Self {
        let json_rpc = stream.and_then(|_| exchange.json_rpc_requests());
        exchange.upload.forget();
        exchange.record.set_phase(if stream.is_some() { Phase::Streaming } else { Phase::Body });
        let (policy, end) = (exchange.policy(), exchange.max_duration_end());
        let (mut payload, clock) = match stream {
            Some(stream) => {
                let metrics = &exchange.route.metrics;
                let events = Events::new(stream, policy, metrics, exchange.model(), waiting, json_rpc);
                (Payload::Events(Box::new(events)), Clock::of_stream(policy, exchange.sent, end))
            }
            None => (Payload::Opaque(Vec::new()), Clock::of_body(policy, end)),
        };
        payload.push(begun);
        Self { client, exchange, payload, clock }
    }

    /// Relays the body to its end, and gives the upstream connection back or closes it.
    pub async fn run(&mut self, body: Box<Body>) -> Outcome {
        let outcome = self.relay(body).await;
        self.note_end(outcome)
    }

    /// Ends a stream of which nothing is relayed, because the backend has failed before it answered.
    pub async fn fail_unanswered(&mut self, fault: UpstreamFault) -> Outcome {
        let outcome = self.fail(fault).await;
        self.note_end(outcome)
    }

    fn note_end(&self, outcome: Outcome) -> Outcome {
        let outcome = self.client.left().map_or(outcome, |phase| outcome.without_client(phase));
        if let Payload::Events(events) = &self.payload {
            events.note_end(outcome, &self.exchange);
        }
        outcome
    }

    async fn relay(&mut self, mut body: Box<Body>) -> Outcome {
        let link = body.connection.link();
        let mut timer = pin!(sleep_until(self.next_due()));
        // Pinned here, so that waiting for it costs nothing per event.
        let end_of_all = self.exchange.end_of_all;
        let mut end_of_all = pin!(end_of_all.wait());
        let mut step = Step::Read;
        loop {
            if let Step::Read = step {
                step = self.gather(&mut body).await;
            }
            self.payload.note_read();
            if let Step::Read = step {
                let is_full = self.payload.ready().len() >= BATCH;
                if let Err(lost) = self.write_what_is_there().await
                    && !self.try_read_on(lost)
                {
                    step = Step::Client(lost);
                } else if is_full {
                    // Whoever has more than that is no reason for the others to wait.
                    tokio::task::yield_now().await;
                }
            }
            match step {
                Step::Read => {}
                Step::Upload => self.exchange.forward_upload(&mut body.connection).await,
                // Boxed, like the one below: their state shall not take memory for as long as the body runs.
                Step::End => return Box::pin(self.end(body)).await,
                Step::Fault(fault) => {
                    drop(body);
                    return Box::pin(self.fail(fault)).await;
                }
                Step::Client(lost) if self.try_read_on(lost) => {}
                Step::Client(lost) => return self.abandon(body, lost),
            }
            // A deadline that moved further away is found when the timer fires: re-arming costs more than that.
            let next = self.next_due();
            if next < timer.deadline() {
                timer.as_mut().reset(next);
            }
            step = tokio::select! {
                biased;
                step = self.step(&mut body, &link, timer.as_mut()) => step,
                () = &mut end_of_all => Step::Fault(UpstreamFault::ShuttingDown),
            };
        }
    }

    /// Reads the body on without a client that is lost, if that is what is asked for; returns whether it does.
    fn try_read_on(&mut self, lost: ClientLost) -> bool {
        let goes_on = self.exchange.try_read_on(self.client, lost, self.phase());
        if goes_on {
            self.clock.limit_to(self.exchange.max_duration_end());
        }
        goes_on
    }

    fn phase(&self) -> Phase {
        match self.payload {
            Payload::Events(_) => Phase::Streaming,
            Payload::Opaque(_) => Phase::Body,
        }
    }

    /// Waits for the next thing to happen.
    async fn step(&mut self, body: &mut Body, link: &UpstreamLink, mut timer: Pin<&mut Sleep>) -> Step {
        loop {
            tokio::select! {
                biased;
                // First, because a backend that is always ready must not keep a client's leaving from being seen.
                event = self.client.watch(&mut self.exchange.upload) => return match event {
                    ClientEvent::Uploaded => Step::Upload,
                    ClientEvent::Gone | ClientEvent::BadBody(_) => Step::Client(ClientLost::Gone),
                },
                step = read(body, &mut self.payload) => return step,
                () = link.cleared(), if self.exchange.upload.waits() => return Step::Upload,
                () = &mut timer => {
                    if let Some(step) = self.on_timer().await {
                        return step;
                    }
                    timer.as_mut().reset(self.next_due());
                }
            }
        }
    }

    /// Takes what else is there from the backend, up to a batch.
    async fn gather(&mut self, body: &mut Body) -> Step {
        while self.payload.ready().len() < BATCH {
            match poll_once(pin!(read(body, &mut self.payload))).await {
                Poll::Ready(Step::Read) => {}
                Poll::Ready(step) => return step,
                Poll::Pending => break,
            }
        }
        Step::Read
    }

    async fn on_timer(&mut self) -> Option<Step> {
        let written = match self.clock.due(Instant::now(), self.situation()) {
            Due::Nothing => Ok(()),
            Due::Fault(fault) => return Some(Step::Fault(fault)),
            Due::ReleaseEvents => self.write_all_ready().await,
            Due::Heartbeat => self.write_heartbeat().await,
        };
        written.err().map(Step::Client)
    }

    async fn write_heartbeat(&mut self) -> Result<(), ClientLost> {
        let comment = match &self.payload {
            Payload::Events(events) => heartbeat(events.rechunker.after_cr()),
            Payload::Opaque(_) => return Ok(()),
        };
        self.client.write(comment).await?;
        self.clock.beat(Instant::now());
        self.exchange.route.metrics.heartbeats.inc();
        self.exchange.record.note_heartbeat();
        Ok(())
    }

    /// Writes what is whole, if it is to be written now, and in any case the head.
    async fn write_what_is_there(&mut self) -> Result<(), ClientLost> {
        self.write_ready().await?;
        self.client.release().await
    }

    /// Writes what is whole, unless it is to wait: for the LF of its last CRLF, or for the next write of `coalesce`.
    async fn write_ready(&mut self) -> Result<(), ClientLost> {
        let now = Instant::now();
        self.clock.read(now);
        if self.clock.holds_back(now, self.situation()) { Ok(()) } else { self.write_all_ready().await }
    }

    async fn write_all_ready(&mut self) -> Result<(), ClientLost> {
        let ready = self.payload.ready();
        if ready.is_empty() {
            return Ok(());
        }
        self.client.write(ready).await?;
        self.note_written();
        Ok(())
    }

    /// Counts what is ready as written.
    fn note_written(&mut self) {
        if self.payload.ready().is_empty() {
            return;
        }
        let now = Instant::now();
        self.clock.wrote(now);
        match &mut self.payload {
            Payload::Opaque(_) if self.client.has_left() => {}
            Payload::Opaque(bytes) => self.exchange.record.add(0, bytes.len() as u64, now),
            Payload::Events(events) => {
                let has_first = match self.client.left() {
                    None => events.note_delivery(now, &self.exchange),
                    Some(_) => events.note_discarded(),
                };
                if has_first {
                    self.clock.first_event();
                }
            }
        }
        self.payload.consume();
    }

    /// The body is complete as its framing says.
    async fn end(&mut self, body: Box<Body>) -> Outcome {
        let outcome = match &mut self.payload {
            Payload::Opaque(_) => Outcome::Completed,
            Payload::Events(events) => match events.finish(self.exchange.policy()) {
                CleanEnd::Complete => Outcome::Completed,
                CleanEnd::ReportedError => Outcome::ReportedError,
                CleanEnd::Truncated => {
                    drop(body);
                    return self.fail(UpstreamFault::Truncated).await;
                }
            },
        };
        if let Err(lost) = self.write_end().await
            && !self.try_read_on(lost)
        {
            return self.abandon(body, lost);
        }
        if self.exchange.upload.is_closed() && self.exchange.upload.is_read() {
            self.exchange.route.upstream.give_back(body.connection);
        } else {
            drop(body);
        }
        self.client.drain(&mut self.exchange.upload).await;
        outcome
    }

    async fn write_end(&mut self) -> Result<(), ClientLost> {
        self.client.write_last(self.payload.ready()).await?;
        self.note_written();
        Ok(())
    }

    /// The backend broke: what is whole goes out, and then the client is told, or the connection broken.
    async fn fail(&mut self, fault: UpstreamFault) -> Outcome {
        let (outcome, ending) = match &mut self.payload {
            Payload::Opaque(_) => (Outcome::Upstream(fault), Ending::Break),
            Payload::Events(events) => events.break_off(fault, self.exchange.policy().error_events),
        };
        if self.client.has_left() {
            return outcome;
        }
        let ended = match (self.write_all_ready().await, ending) {
            (Err(lost), _) => Err(lost),
            (Ok(()), Ending::Clean) => self.client.finish().await,
            (Ok(()), Ending::ErrorEvent(event)) => self.tell(&event, fault.event_code()).await,
            (Ok(()), Ending::Break) => {
                self.client.sever().await;
                return outcome;
            }
        };
        match ended {
            Ok(()) => self.client.drain(&mut self.exchange.upload).await,
            Err(_) => self.client.abandon(),
        }
        outcome
    }

    /// Ends the stream with an error event.
    async fn tell(&mut self, event: &str, code: ErrorCode) -> Result<(), ClientLost> {
        self.client.write(event.as_bytes()).await?;
        self.client.finish().await?;
        self.exchange.route.metrics.count_error_event(code);
        Ok(())
    }

    /// The client is lost: the backend is told first.
    fn abandon(&mut self, body: Box<Body>, lost: ClientLost) -> Outcome {
        let outcome = self.exchange.cancel(body, lost, self.phase());
        self.client.abandon();
        outcome
    }

    fn situation(&self) -> Situation {
        match &self.payload {
            Payload::Opaque(_) => Situation::default(),
            Payload::Events(events) => Situation {
                awaits_lf: events.rechunker.awaits_lf(),
                may_wait: (1..BATCH).contains(&events.rechunker.ready().len()) && !events.is_urgent(),
                between_events: events.takes_heartbeat() && !self.client.has_left(),
            },
        }
    }

    fn next_due(&self) -> Instant {
        self.clock.next(self.situation()).unwrap_or_else(|| Instant::now() + FAR)
    }
}

/// Reads what is there of the body. Nothing is lost if the future is dropped.
async fn read(body: &mut Body, payload: &mut Payload) -> Step {
    match poll_fn(|cx| body.poll_read(cx, &mut |bytes| payload.push(bytes))).await {
        Ok(Progress::More) => Step::Read,
        Ok(Progress::End) => Step::End,
        Err(fault) => Step::Fault(fault),
    }
}
