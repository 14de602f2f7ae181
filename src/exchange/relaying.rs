//! The main loop of a relay. It waits for the backend, the client, a timer and the end of the process at
//! once. It reads all available data, and writes the output of the session once.
//!
//! Nearly every wake-up is an event that arrives and is written at once. [`Relaying`] handles these on a fast
//! path, polled directly by the client's task. All other work runs in a temporary future, off the fast path.

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

/// Work that does not fit the fast path.
enum RelayStep {
    /// Data was read that the client does not accept without blocking; or no data has arrived and the head
    /// must be sent.
    Write,
    /// The body ended according to its framing.
    End,
    Fault(Fault),
    Client(ClientLost),
    /// The client uploaded data, or the backend can accept more.
    Upload,
    Timer,
}

/// How a body ends.
enum Last {
    Whole,
    /// The session ended before the body.
    GivenUp(Outcome),
    Fault(Fault),
    Lost(ClientLost),
}

/// Data read from the backend.
enum Batch {
    /// All available data at this time, or a full batch of it.
    All(Instant),
    /// The last data, or only the end.
    Last(RelayStep),
}

/// A relay whose body is in progress.
pub struct RunningRelay {
    relay: Relay,
    body: Body,
    alarms: Alarms,
    /// Whether more may have to be sent upstream.
    uploads: bool,
    /// The status of the response.
    status: StatusCode,
}

/// The result of a step off the fast path.
enum AfterStep {
    Running(Box<RunningRelay>),
    Ended(Box<Client>),
}

/// A response in progress. Resolves to its client when the exchange is over.
pub struct Relaying(RelayState);

enum RelayState {
    FastPath(Box<RunningRelay>),
    Stepping(Pin<Box<dyn Future<Output = AfterStep> + Send>>),
    Over,
}

impl Future for Relaying {
    type Output = Box<Client>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Box<Client>> {
        loop {
            match &mut self.0 {
                RelayState::FastPath(running) => {
                    let step = ready!(running.poll_step(cx));
                    if let RelayState::FastPath(running) = std::mem::replace(&mut self.0, RelayState::Over) {
                        self.0 = RelayState::Stepping(Box::pin(running.run_step(step)));
                    }
                }
                RelayState::Stepping(step) => match ready!(step.as_mut().poll(cx)) {
                    AfterStep::Running(running) => self.0 = RelayState::FastPath(running),
                    AfterStep::Ended(client) => {
                        self.0 = RelayState::Over;
                        return Poll::Ready(client);
                    }
                },
                // Already completed.
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

    /// Relays the data that arrived with the head. If there is none, sends the head.
    pub async fn begin(mut self: Box<Self>) -> Served<Relaying> {
        let step = match poll_fn(|cx| Poll::Ready(self.poll_gather(cx))).await {
            Poll::Ready(Batch::Last(step)) => step,
            _ => RelayStep::Write,
        };
        match self.run_step(step).await {
            AfterStep::Running(running) => Served::Relaying(Relaying(RelayState::FastPath(running))),
            AfterStep::Ended(client) => Served::Answered(client),
        }
    }

    /// Waits for work that does not fit the fast path, and relays events meanwhile.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<RelayStep> {
        self.touch();
        loop {
            let may_have_fired = self.alarms.may_have_fired(cx.waker());
            // First, because a backend that is always ready must not hide that the client left.
            if may_have_fired && let Poll::Ready(step) = self.poll_client() {
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
            // Last, because data that arrived in time counts, even if it is processed only now.
            if may_have_fired && let Poll::Ready(alarm) = self.alarms.poll() {
                return Poll::Ready(match alarm {
                    Alarm::Timer => RelayStep::Timer,
                    Alarm::Shutdown => RelayStep::Fault(Failure::ShuttingDown.into()),
                });
            }
            if !self.alarms.must_poll() {
                return Poll::Pending;
            }
        }
    }

    /// Reads a little of all state that an event needs. With thousands of streams, none of it is in the CPU
    /// cache. Reading it here overlaps the cache misses, which takes a fraction of the time of one miss after
    /// the other.
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

    /// Writes the gathered data. Returns false if the client would block or a full batch is pending.
    fn relay_on(&mut self, now: Instant) -> bool {
        if self.relay.session.ready() >= BATCH || !self.relay.try_write(now) {
            return false;
        }
        if self.relay.session.wakes_earlier() {
            self.alarms.advance(self.relay.next_due());
        }
        true
    }

    /// Reads all available data from the backend, up to a batch. Pending if there is none.
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

    /// Runs a step off the fast path, and then writes pending data.
    async fn run_step(mut self: Box<Self>, mut step: RelayStep) -> AfterStep {
        let has_fired = matches!(step, RelayStep::Timer);
        loop {
            if let Some(last) = self.take(step).await {
                return AfterStep::Ended(self.end(last).await);
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
            return AfterStep::Running(self);
        }
    }

    /// Handles a step. Returns how the body ends, if it does.
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
