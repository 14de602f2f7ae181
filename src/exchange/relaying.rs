//! A relay while its body runs: it waits for the backend, the client, one timer and the end of the process at once, takes every
//! chunk that is there, and writes what the session says, once.
//!
//! Nearly all that happens is an event that comes and is written at once. That is done in passing, by [`Relaying`], which the task of
//! the client polls itself. Whatever else happens is done aside, in a future that is made for it and given up again.

use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use tokio::time::Instant;

use super::alarms::{Alarm, Alarms};
use super::body::Body;
use super::observer::Observer;
use super::relay::Relay;
use super::upload::ClientEvent;
use crate::downstream::{Client, ClientLost, Served};
use crate::outcome::{Failure, Fault, Outcome};
use crate::session::BATCH;
use crate::upstream::BodyProgress;

/// What is to be done aside.
enum RelayStep {
    /// Bytes were taken from the backend that the client does not take at once; or there were none, and the head is to go out.
    Write,
    /// The backend's body ended as its framing says.
    End,
    Fault(Fault),
    Client(ClientLost),
    /// The client uploaded something, or the backend takes more of it.
    Upload,
    Timer,
}

/// How a body ends.
enum Last {
    Whole,
    /// The session has ended before it.
    GivenUp(Outcome),
    Fault(Fault),
    Lost(ClientLost),
}

/// What was taken from the backend.
enum Batch {
    /// All that was there at this time, or a full batch of it.
    All(Instant),
    /// Its last, or nothing but the end.
    Last(RelayStep),
}

/// A relay whose body runs.
pub struct RunningRelay {
    relay: Relay,
    body: Body,
    alarms: Alarms,
    /// Something may still have to be sent upstream.
    uploads: bool,
    /// Of the response.
    status: StatusCode,
}

/// What has come of something that was done aside.
enum Then {
    Running(Box<RunningRelay>),
    Ended(Box<Client>),
}

/// A response that is under way. Ready with its client when all is over.
pub struct Relaying(RelayState);

enum RelayState {
    Steady(Box<RunningRelay>),
    Aside(Pin<Box<dyn Future<Output = Then> + Send>>),
    Over,
}

impl Future for Relaying {
    type Output = Box<Client>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Box<Client>> {
        loop {
            match &mut self.0 {
                RelayState::Steady(running) => {
                    let step = ready!(running.poll_step(cx));
                    if let RelayState::Steady(running) = std::mem::replace(&mut self.0, RelayState::Over) {
                        self.0 = RelayState::Aside(Box::pin(running.step_aside(step)));
                    }
                }
                RelayState::Aside(aside) => match ready!(aside.as_mut().poll(cx)) {
                    Then::Running(running) => self.0 = RelayState::Steady(running),
                    Then::Ended(client) => {
                        self.0 = RelayState::Over;
                        return Poll::Ready(client);
                    }
                },
                // Like any future that has given its result.
                RelayState::Over => return Poll::Pending,
            }
        }
    }
}

impl RunningRelay {
    pub fn new(relay: Relay, body: Box<Body>, status: StatusCode) -> Box<Self> {
        let proxy = relay.exchange.proxy.clone();
        let alarms = Alarms::new(relay.next_due(), async move { proxy.shutdown.wait().await });
        Box::new(Self { relay, body: *body, alarms, uploads: true, status })
    }

    /// Relays what has come with the head; and if nothing has, the head goes out.
    pub async fn begin(mut self: Box<Self>) -> Served<Relaying> {
        let step = match poll_fn(|cx| Poll::Ready(self.poll_gather(cx))).await {
            Poll::Ready(Batch::Last(step)) => step,
            _ => RelayStep::Write,
        };
        match self.step_aside(step).await {
            Then::Running(running) => Served::Relaying(Relaying(RelayState::Steady(running))),
            Then::Ended(client) => Served::Answered(client),
        }
    }

    /// Waits for something that is to be done aside, and relays the events that come meanwhile.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<RelayStep> {
        self.touch();
        loop {
            let have_rung = self.alarms.have_rung(cx.waker());
            // First, because a backend that is always ready must not keep a client's leaving from being seen.
            if have_rung && let Poll::Ready(step) = self.poll_client() {
                return Poll::Ready(step);
            }
            match self.poll_gather(cx) {
                Poll::Ready(Batch::Last(step)) => return Poll::Ready(step),
                Poll::Ready(Batch::All(now)) if !self.relay_on(now) => return Poll::Ready(RelayStep::Write),
                _ => {}
            }
            if self.uploads && self.relay.exchange.upload.waits() && self.body.connection.link().is_clear() {
                return Poll::Ready(RelayStep::Upload);
            }
            // Last, because what has come in time counts, even if nobody could look at it before now.
            if have_rung && let Poll::Ready(alarm) = self.alarms.poll() {
                return Poll::Ready(match alarm {
                    Alarm::Timer => RelayStep::Timer,
                    Alarm::Shutdown => RelayStep::Fault(Failure::ShuttingDown.into()),
                });
            }
            if !self.alarms.is_set() {
                return Poll::Pending;
            }
        }
    }

    /// Looks at a little of all that an event needs. Among thousands of streams nothing of one is near at hand, and to wait for
    /// all of it at once takes a fraction of the time that it takes to wait for each part when its turn comes.
    fn touch(&self) {
        let Self { relay: Relay { client, session, observer, .. }, body, alarms, .. } = self;
        let observed = observer.as_ref().map(Observer::touch);
        black_box((client.touch(), observed, alarms.touch(), session.touch(), body.touch()));
    }

    fn poll_client(&mut self) -> Poll<RelayStep> {
        let Relay { client, exchange, .. } = &mut self.relay;
        let event = ready!(exchange.upload.poll_watch(&mut self.alarms.context(), client));
        Poll::Ready(match event {
            ClientEvent::Uploaded => RelayStep::Upload,
            ClientEvent::BadBody(bad) if exchange.is_grpc => RelayStep::Fault(bad.into()),
            ClientEvent::Gone | ClientEvent::BadBody(_) => RelayStep::Client(ClientLost::Gone),
        })
    }

    /// Relays what was gathered. Returns whether that is done; what the client's connection does not take is left.
    fn relay_on(&mut self, now: Instant) -> bool {
        if self.relay.session.ready() >= BATCH || !self.relay.try_write(now) {
            return false;
        }
        if self.relay.session.wakes_earlier() {
            self.alarms.advance(self.relay.next_due());
        }
        true
    }

    /// Takes all that is there from the backend, up to a batch; pending if that is nothing.
    fn poll_gather(&mut self, cx: &mut Context<'_>) -> Poll<Batch> {
        let Self { relay: Relay { session, observer, .. }, body, .. } = self;
        let (mut is_any, mut is_all, mut last) = (false, false, None);
        while !is_all && last.is_none() && session.ready() < BATCH {
            match body.poll_read(cx, &mut |bytes| session.append(bytes)) {
                Poll::Ready(Ok(BodyProgress::More)) => {}
                Poll::Ready(Ok(BodyProgress::Waits)) => is_all = true,
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
        if let Some(observer) = observer {
            observer.note_read(session);
        }
        let now = Instant::now();
        session.handle_read(now.into_std());
        Poll::Ready(last.map_or(Batch::All(now), Batch::Last))
    }

    /// Does what is not done in passing.
    async fn step_aside(mut self: Box<Self>, mut step: RelayStep) -> Then {
        let has_fired = matches!(step, RelayStep::Timer);
        loop {
            if let Some(last) = self.take(step).await {
                return Then::Ended(self.end(last).await);
            }
            let is_full = self.relay.session.ready() >= BATCH;
            if !self.relay.try_write(Instant::now())
                && let Err(lost) = self.relay.write().await
            {
                step = RelayStep::Client(lost);
                continue;
            }
            if is_full {
                // Fairness: a stream yields after each full batch.
                tokio::task::yield_now().await;
            }
            self.alarms.rearm(self.relay.next_due(), has_fired);
            self.uploads = !self.relay.exchange.upload.is_closed();
            return Then::Running(self);
        }
    }

    /// Takes notice of what has happened; returns how it ends if that is the end.
    async fn take(&mut self, step: RelayStep) -> Option<Last> {
        let Self { relay, body, .. } = self;
        match step {
            RelayStep::Write => None,
            RelayStep::Upload => {
                relay.forward_upload(body).await;
                None
            }
            RelayStep::Timer => {
                relay.session.handle_timeout(Instant::now().into_std());
                relay.session.end().map(|end| Last::GivenUp(end.outcome))
            }
            RelayStep::End => {
                relay.session.handle_end();
                Some(Last::Whole)
            }
            RelayStep::Fault(fault) => Some(Last::Fault(fault)),
            RelayStep::Client(lost) if relay.try_read_on(lost) => None,
            RelayStep::Client(lost) => Some(Last::Lost(lost)),
        }
    }

    async fn end(mut self: Box<Self>, last: Last) -> Box<Client> {
        let (relay, body) = (&mut self.relay, self.body);
        let outcome = match last {
            Last::Whole => relay.finish(Some(body)).await,
            Last::GivenUp(outcome) => {
                let body = relay.given_up(body, outcome);
                relay.finish(body).await
            }
            Last::Fault(fault) => {
                drop(body);
                relay.session.handle_fault(fault);
                relay.finish(None).await
            }
            Last::Lost(lost) => Box::pin(relay.abandon(body, lost)).await,
        };
        self.relay.end(outcome, self.status)
    }
}
