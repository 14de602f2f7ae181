//! The relay: the body of a response on its way from the backend to the client.
//!
//! The shell of a [`Session`]: it waits for the backend, the client and one timer at once, takes every chunk that is there, and writes
//! what the session says, once. The session decides what that is, when to be woken, and how it all ends.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, sleep_until};

use super::Exchange;
use super::alarms::{Alarm, Alarms, FAR};
use super::body::Body;
use super::observer::Observer;
use super::upload::ClientEvent;
use crate::downstream::{Client, ClientLost};
use crate::outcome::{Failure, Fault, Outcome};
use crate::session::{BATCH, Session};
use crate::upstream::BodyProgress;

/// What the loop woke up for.
enum RelayStep {
    /// Bytes were taken from the backend, at this time; or there were none, and the head is to go out.
    Read(Instant),
    /// The backend's body ended as its framing says.
    End,
    Fault(Fault),
    Client(ClientLost),
    /// The client uploaded something, or the backend takes more of it.
    Upload,
    Timer,
}

/// The state of the loop, the upstream connection aside.
pub struct Relay<'a> {
    pub client: &'a mut Client,
    pub exchange: Box<Exchange<'a>>,
    pub session: Session<'a>,
    /// What is observed of a stream.
    pub observer: Option<Box<Observer>>,
}

impl<'a> Relay<'a> {
    /// Relays the body to its end, and gives the upstream connection back or closes it.
    pub async fn run(&mut self, body: Box<Body>) -> Outcome {
        let outcome = self.relay(body).await;
        self.note_end(outcome)
    }

    async fn relay(&mut self, mut body: Box<Body>) -> Outcome {
        let shutdown = self.exchange.shutdown;
        let (timer, end) = (pin!(sleep_until(self.next_due())), pin!(shutdown.wait()));
        let mut alarms = Alarms::new(timer, shutdown, end);
        // What has come with the head; and if nothing has, the head goes out.
        let begun = poll_fn(|cx| Poll::Ready(self.poll_gather(cx, &mut body)));
        let mut step = match begun.await {
            Poll::Ready(step) => step,
            Poll::Pending => RelayStep::Read(Instant::now()),
        };
        loop {
            let mut has_fired = false;
            match step {
                RelayStep::Read(_) => {}
                // Boxed, like what else seldom happens or is the end: its state shall not take memory for as long as the body runs.
                RelayStep::Upload => Box::pin(self.forward_upload(&mut body)).await,
                RelayStep::Timer => {
                    self.session.handle_timeout(Instant::now().into_std());
                    if let Some(end) = self.session.end() {
                        let body = self.given_up(body, end.outcome);
                        return Box::pin(self.finish(body)).await;
                    }
                    has_fired = true;
                }
                RelayStep::End => {
                    self.session.handle_end();
                    return Box::pin(self.finish(Some(body))).await;
                }
                RelayStep::Fault(fault) => {
                    drop(body);
                    self.session.handle_fault(fault);
                    return Box::pin(self.finish(None)).await;
                }
                RelayStep::Client(lost) if self.try_read_on(lost) => {}
                RelayStep::Client(lost) => return self.abandon(body, lost).await,
            }
            let is_full = self.session.ready() >= BATCH;
            if !self.try_write(Instant::now())
                && let Err(lost) = Box::pin(self.write()).await
            {
                step = RelayStep::Client(lost);
                continue;
            }
            if is_full {
                // Fairness: a stream yields after each full batch.
                tokio::task::yield_now().await;
            }
            alarms.rearm(self.next_due(), has_fired);
            step = poll_fn(|cx| self.poll_step(cx, &mut body, &mut alarms)).await;
        }
    }

    /// Waits for the next thing to happen. Events that come meanwhile, and that the client's socket takes at once, are relayed in
    /// here: nearly all are, and each way out of here and back asks again for everything that is waited for. If the socket would
    /// block, its being writable is awaited outside.
    fn poll_step<W: Future<Output = ()>>(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Body,
        alarms: &mut Alarms<'_, W>,
    ) -> Poll<RelayStep> {
        // First, because a backend that is always ready must not keep a client's leaving from being seen.
        match self.exchange.upload.poll_watch(cx, self.client) {
            Poll::Ready(ClientEvent::Uploaded) => return Poll::Ready(RelayStep::Upload),
            Poll::Ready(ClientEvent::BadBody(bad)) if self.exchange.is_grpc => {
                return Poll::Ready(RelayStep::Fault(bad.into()));
            }
            Poll::Ready(_) => return Poll::Ready(RelayStep::Client(ClientLost::Gone)),
            Poll::Pending => {}
        }
        let mut now = None;
        match self.poll_gather(cx, body) {
            Poll::Ready(RelayStep::Read(read)) if self.session.ready() < BATCH => {
                if !self.try_write(read) {
                    return Poll::Ready(RelayStep::Read(read));
                }
                if self.session.wakes_earlier() {
                    alarms.advance(self.next_due());
                }
                now = Some(read);
            }
            Poll::Ready(step) => return Poll::Ready(step),
            Poll::Pending => {}
        }
        if self.exchange.upload.waits() && body.connection.link().is_clear() {
            return Poll::Ready(RelayStep::Upload);
        }
        alarms.poll(cx, now).map(|alarm| match alarm {
            Alarm::Timer => RelayStep::Timer,
            Alarm::Shutdown => RelayStep::Fault(Failure::ShuttingDown.into()),
        })
    }

    /// Takes all that is there from the backend, up to a batch; pending if that is nothing.
    fn poll_gather(&mut self, cx: &mut Context<'_>, body: &mut Body) -> Poll<RelayStep> {
        let (mut is_any, mut last) = (false, None);
        while last.is_none() && self.session.ready() < BATCH {
            let session = &mut self.session;
            match body.poll_read(cx, &mut |bytes| session.append(bytes)) {
                Poll::Ready(Ok(BodyProgress::More)) => {}
                Poll::Ready(Ok(BodyProgress::End)) => last = Some(RelayStep::End),
                Poll::Ready(Err(fault)) => last = Some(RelayStep::Fault(fault)),
                Poll::Pending => break,
            }
            session.scan();
            is_any = true;
        }
        if !is_any {
            return Poll::Pending;
        }
        if let Some(observer) = &mut self.observer {
            observer.note_read(&self.session, &self.exchange);
        }
        let now = Instant::now();
        self.session.handle_read(now.into_std());
        Poll::Ready(last.unwrap_or(RelayStep::Read(now)))
    }

    /// Writes what is to be written now, as far as the client's socket takes it at once. Returns whether nothing of it is left.
    fn try_write(&mut self, now: Instant) -> bool {
        while let Some(bytes) = self.session.poll_write(now.into_std()) {
            if !self.client.try_write(bytes) {
                return false;
            }
            self.note_written(now);
        }
        // Of what is written, the socket may have taken only a part; and the head may still be held back.
        !self.client.is_behind()
    }

    /// Writes what is to be written now, and in any case the head.
    async fn write(&mut self) -> Result<(), ClientLost> {
        while let Some(bytes) = self.session.poll_write(Instant::now().into_std()) {
            self.client.write(bytes).await?;
            self.note_written(Instant::now());
        }
        self.client.release().await
    }

    pub fn note_written(&mut self, now: Instant) {
        let delivered = self.session.handle_written(now.into_std());
        match (&mut self.observer, self.client.has_left()) {
            (Some(observer), false) => observer.note_delivery(&delivered, now, &self.exchange),
            (Some(observer), true) => observer.note_discarded(&delivered),
            (None, false) => self.exchange.record.add(0, delivered.bytes, now),
            (None, true) => {}
        }
    }

    fn next_due(&self) -> Instant {
        self.session.poll_timeout().map_or_else(|| Instant::now() + FAR, Instant::from_std)
    }
}
