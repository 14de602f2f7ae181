//! The deadlines of one response: heartbeats, timeouts, and the release of held-back events.

use std::time::{Duration, Instant};

use super::policy::Policy;
use crate::outcome::Failure;

/// How long complete events that end with a CR wait for the LF of their CRLF.
const LF_GRACE: Duration = Duration::from_millis(20);

/// The action that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Nothing,
    /// Write the events that were held back, to wait for an LF or to be coalesced.
    ReleaseEvents,
    Heartbeat,
    /// End the response with this timeout.
    Failure(Failure),
}

/// The state of the session on which the deadlines depend.
#[derive(Clone, Copy, Debug, Default)]
pub struct Situation {
    /// Complete events end with a CR whose LF may still arrive.
    pub awaits_lf: bool,
    /// There are complete events that `coalesce` may hold back.
    pub may_wait: bool,
    /// A heartbeat may be written at this position of the stream.
    pub takes_heartbeat: bool,
}

/// The timeout that limits the silence of the backend.
#[derive(Clone, Copy, Debug)]
enum Silence {
    /// Before the first event: its deadline. `None`: no limit.
    FirstEventBy(Option<Instant>),
    /// Before the first event of a subscription: the longest silence. Any byte from the backend restarts it.
    AnythingWithin(Option<Duration>),
    /// After the first event, and in other bodies: `idle_timeout`.
    Idle,
}

/// The timers of one response. All times come from the caller.
#[derive(Debug)]
pub struct Deadlines {
    heartbeat: Option<Duration>,
    idle_timeout: Option<Duration>,
    silence: Silence,
    max_duration_end: Option<Instant>,
    /// The last read from the backend. A write counts too, because nothing is read while it blocks.
    last_read: Instant,
    /// When events began to wait for an LF. Further events do not restart the wait.
    lf_since: Option<Instant>,
    /// The last write to the client, heartbeats included.
    last_write: Instant,
    coalesce: Option<Duration>,
    /// The last write of events.
    last_events: Option<Instant>,
}

impl Deadlines {
    /// The deadlines of any body. A stream calls [`Self::await_first_event`] or [`Self::await_any_event`] too.
    pub fn new(policy: &Policy, max_duration_end: Option<Instant>, now: Instant) -> Self {
        Self {
            heartbeat: policy.heartbeat,
            idle_timeout: policy.idle_timeout,
            silence: Silence::Idle,
            max_duration_end,
            last_read: now,
            lf_since: None,
            last_write: now,
            // Held-back events are written no later than a heartbeat would be.
            coalesce: policy.coalesce.map(|window| policy.heartbeat.map_or(window, |beat| window.min(beat))),
            last_events: None,
        }
    }

    /// Applies `first_event_timeout` until the first event. `sent`: when the request was sent.
    pub fn await_first_event(&mut self, policy: &Policy, sent: Instant) {
        self.silence = Silence::FirstEventBy(policy.first_event_timeout.map(|limit| sent + limit));
    }

    /// The same for a subscription. No event answers a particular request, so any byte from the backend restarts the
    /// timeout.
    pub fn await_any_event(&mut self, policy: &Policy, sent: Instant) {
        self.silence = Silence::AnythingWithin(policy.first_event_timeout);
        self.last_read = sent;
    }

    /// Replaces the end of `max_duration`.
    pub fn limit_to(&mut self, end: Option<Instant>) {
        self.max_duration_end = end;
    }

    /// Whether `coalesce` is on.
    pub fn coalesces(&self) -> bool {
        self.coalesce.is_some()
    }

    /// Whether the complete events are still held back.
    pub fn holds_back(&self, now: Instant, situation: Situation) -> bool {
        self.release(situation).is_some_and(|at| now < at)
    }

    /// The time at which the complete events are written. `None`: at once.
    fn release(&self, situation: Situation) -> Option<Instant> {
        let next_write = self.last_events.zip(self.coalesce).map(|(last, window)| last + window);
        let next_write = next_write.filter(|_| situation.may_wait);
        let lf_end = situation.awaits_lf.then(|| self.lf_since.unwrap_or(self.last_read) + LF_GRACE);
        next_write.max(lf_end)
    }

    /// The last write to the client, heartbeats included.
    pub fn last_write(&self) -> Instant {
        self.last_write
    }

    /// Notes a read from the backend. `awaits_lf`: complete events wait for an LF.
    pub fn read(&mut self, now: Instant, awaits_lf: bool) {
        self.last_read = now;
        self.lf_since = awaits_lf.then(|| self.lf_since.unwrap_or(now));
    }

    /// Notes a write to the client. The backend is not read while a write blocks, so its silence starts again here.
    pub fn wrote(&mut self, now: Instant) {
        self.last_read = now;
        self.lf_since = None;
        self.last_write = now;
        self.last_events = Some(now);
    }

    /// Notes a heartbeat. It does not affect the timeouts of the backend.
    pub fn beat(&mut self, now: Instant) {
        self.last_write = now;
    }

    /// Notes the first event: from now on, `idle_timeout` applies.
    pub fn first_event(&mut self) {
        self.silence = Silence::Idle;
    }

    /// The next deadline. `None`: there is none.
    pub fn next(&self, situation: Situation) -> Option<Instant> {
        self.deadlines(situation).into_iter().flatten().map(|(at, _)| at).min()
    }

    /// The action that is due at `now`.
    pub fn due(&self, now: Instant, situation: Situation) -> Due {
        let mut due = self.deadlines(situation).into_iter().flatten().filter(|(at, _)| *at <= now);
        due.next().map_or(Due::Nothing, |(_, what)| what)
    }

    /// All deadlines, in the order of precedence.
    fn deadlines(&self, situation: Situation) -> [Option<(Instant, Due)>; 4] {
        let (silence_end, failure) = match self.silence {
            Silence::FirstEventBy(end) => (end, Failure::FirstEventTimeout),
            Silence::AnythingWithin(limit) => (limit.map(|d| self.last_read + d), Failure::FirstEventTimeout),
            Silence::Idle => (self.idle_timeout.map(|d| self.last_read + d), Failure::IdleTimeout),
        };
        let heartbeat = self.heartbeat.filter(|_| situation.takes_heartbeat);
        [
            self.max_duration_end.map(|end| (end, Due::Failure(Failure::MaxDuration))),
            silence_end.map(|end| (end, Due::Failure(failure))),
            self.release(situation).map(|at| (at, Due::ReleaseEvents)),
            heartbeat.map(|d| (self.last_write + d, Due::Heartbeat)),
        ]
    }
}
