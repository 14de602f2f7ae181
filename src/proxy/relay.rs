//! The relay: the body of a response on its way from the backend to the client.
//!
//! One loop for both kinds of body. It waits for the backend, the client and one timer at once, takes every chunk
//! that is there, and writes once. An event stream is cut at its boundaries, kept alive and ended with an error
//! event; any other body passes as it is, and is broken off where it breaks.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, sleep_until};

use super::alarms::{Alarm, Alarms};
use super::body::Body;
use super::clock::{Clock, Due, FAR, Situation};
use super::exchange::{Exchange, Raised};
use super::payload::{CleanEnd, Ending, Events, Payload};
use super::response::Stream;
use super::upload::ClientEvent;
use crate::downstream::{Client, ClientLost};
use crate::event_stream::{ErrorCode, heartbeat};
use crate::outcome::{Outcome, Phase, UpstreamFault};
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
    Timer,
}

/// The state of the loop, the upstream connection aside.
pub struct Relay<'a> {
    client: &'a mut Client,
    exchange: Box<Exchange<'a>>,
    payload: Payload,
    clock: Clock,
}

impl<'a> Relay<'a> {
    /// `stream`: how the body is read, if it is a stream; `waiting` counts it until its first event; `begun`: what was read of the
    /// body before.
    pub fn new(
        client: &'a mut Client,
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
        payload.append(begun);
        payload.scan();
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

    fn note_end(&mut self, outcome: Outcome) -> Outcome {
        let outcome = self.client.left().map_or(outcome, |phase| outcome.without_client(phase));
        if let Payload::Events(events) = &mut self.payload {
            events.note_end(outcome, &self.exchange);
        }
        outcome
    }

    async fn relay(&mut self, mut body: Box<Body>) -> Outcome {
        let end_of_all = self.exchange.end_of_all;
        let (timer, end) = (pin!(sleep_until(self.next_due())), pin!(end_of_all.wait()));
        let mut alarms = Alarms::new(timer, end_of_all, end);
        // What has come with the head; and if nothing has, the head goes out.
        let begun = poll_fn(|cx| Poll::Ready(self.poll_gather(cx, &mut body)));
        let mut step = match begun.await {
            Poll::Ready(step) => step,
            Poll::Pending => Step::Read,
        };
        loop {
            match step {
                Step::Read => {
                    let is_full = self.payload.ready().len() >= BATCH;
                    // Boxed, like what else seldom happens or is the end: its state shall not take memory for as long as the body runs.
                    if !self.try_write_what_is_there()
                        && let Err(lost) = Box::pin(self.write_what_is_there()).await
                    {
                        step = Step::Client(lost);
                        continue;
                    }
                    if is_full {
                        // Whoever has more than that is no reason for the others to wait.
                        tokio::task::yield_now().await;
                    }
                }
                Step::Upload => Box::pin(self.exchange.forward_upload(&mut body.connection)).await,
                Step::Timer => {
                    if let Some(next) = Box::pin(self.on_timer()).await {
                        step = next;
                        continue;
                    }
                    alarms.set(self.next_due());
                }
                Step::End => return Box::pin(self.end(body)).await,
                Step::Fault(fault) => {
                    drop(body);
                    return Box::pin(self.fail(fault)).await;
                }
                Step::Client(lost) if self.try_read_on(lost) => {}
                Step::Client(lost) => return self.abandon(body, lost).await,
            }
            alarms.advance(self.next_due());
            step = poll_fn(|cx| self.poll_step(cx, &mut body, &mut alarms)).await;
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

    /// Waits for the next thing to happen. Events that come meanwhile, and that the client's socket takes at once, are relayed in
    /// here: nearly all are, and each way out of here and back asks again for everything that is waited for.
    fn poll_step<W: Future<Output = ()>>(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Body,
        alarms: &mut Alarms<'_, W>,
    ) -> Poll<Step> {
        // First, because a backend that is always ready must not keep a client's leaving from being seen.
        match self.exchange.upload.poll_watch(cx, self.client) {
            Poll::Ready(ClientEvent::Uploaded) => return Poll::Ready(Step::Upload),
            Poll::Ready(_) => return Poll::Ready(Step::Client(ClientLost::Gone)),
            Poll::Pending => {}
        }
        let mut now = None;
        match self.poll_gather(cx, body) {
            Poll::Ready(Step::Read) if self.payload.ready().len() < BATCH => {
                let read = Instant::now();
                if !self.try_write_ready(read) {
                    return Poll::Ready(Step::Read);
                }
                alarms.advance(self.next_due());
                now = Some(read);
            }
            Poll::Ready(step) => return Poll::Ready(step),
            Poll::Pending => {}
        }
        if self.exchange.upload.waits() && body.connection.link().is_clear() {
            return Poll::Ready(Step::Upload);
        }
        alarms.poll(cx, now).map(|alarm| match alarm {
            Alarm::Timer => Step::Timer,
            Alarm::EndOfAll => Step::Fault(UpstreamFault::ShuttingDown),
        })
    }

    /// Takes all that is there from the backend, up to a batch; pending if that is nothing.
    fn poll_gather(&mut self, cx: &mut Context<'_>, body: &mut Body) -> Poll<Step> {
        let mut gathered = Poll::Pending;
        while self.payload.ready().len() < BATCH {
            let payload = &mut self.payload;
            gathered = match body.poll_read(cx, &mut |bytes| payload.append(bytes)) {
                Poll::Ready(Ok(Progress::More)) => Poll::Ready(Step::Read),
                Poll::Ready(Ok(Progress::End)) => Poll::Ready(Step::End),
                Poll::Ready(Err(fault)) => Poll::Ready(Step::Fault(fault)),
                Poll::Pending => break,
            };
            payload.scan();
            if !matches!(gathered, Poll::Ready(Step::Read)) {
                break;
            }
        }
        if gathered.is_ready() {
            self.payload.note_read(&self.exchange.route.metrics);
        }
        gathered
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

    /// Like [`Self::write_what_is_there`], for a client whose socket takes all of it at once. Returns whether that was so.
    fn try_write_what_is_there(&mut self) -> bool {
        self.try_write_ready(Instant::now()) && !self.client.is_behind()
    }

    /// Writes what is whole, if it is to be written now and the client's socket takes it at once. Returns whether nothing of it is left.
    fn try_write_ready(&mut self, now: Instant) -> bool {
        self.clock.read(now);
        if self.payload.ready().is_empty() || self.clock.holds_back(now, self.situation()) {
            return true;
        }
        let is_written = self.client.try_write(self.payload.ready());
        if is_written {
            self.note_written(now);
        }
        // Of what is written, the socket may have taken only a part.
        is_written && !self.client.is_behind()
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
        self.note_written(Instant::now());
        Ok(())
    }

    /// Counts what is ready as written.
    fn note_written(&mut self, now: Instant) {
        if self.payload.ready().is_empty() {
            return;
        }
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
                    return Box::pin(self.fail(UpstreamFault::Truncated)).await;
                }
            },
        };
        if let Err(lost) = self.write_end().await
            && !self.try_read_on(lost)
        {
            return self.abandon(body, lost).await;
        }
        if self.exchange.upload.is_closed() && self.exchange.upload.is_read() {
            self.exchange.route.upstream.give_back(body.connection);
        } else {
            drop(body);
        }
        self.client.drain().await;
        outcome
    }

    async fn write_end(&mut self) -> Result<(), ClientLost> {
        self.client.write_last(self.payload.ready()).await?;
        self.note_written(Instant::now());
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
            Ok(()) => self.client.drain().await,
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
    async fn abandon(&mut self, body: Box<Body>, lost: ClientLost) -> Outcome {
        let outcome = self.exchange.cancel(body, lost, self.phase()).await;
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
