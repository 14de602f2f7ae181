//! The times of one response: when it is next due for something.

use std::time::{Duration, Instant};

use super::policy::Policy;
use crate::outcome::Failure;

/// How long whole events wait for the LF of their last CRLF, when the CR came alone.
const LF_GRACE: Duration = Duration::from_millis(20);

/// What a response is due for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Nothing,
    /// Events that waited, for the LF of their last CRLF or for others, are to be written.
    ReleaseEvents,
    Heartbeat,
    Failure(Failure),
}

/// The state of a response that decides what can become due.
#[derive(Clone, Copy, Debug, Default)]
pub struct Situation {
    pub awaits_lf: bool,
    /// Whole events are there that may wait for the next write of `coalesce`.
    pub may_wait: bool,
    /// A heartbeat may be written here.
    pub takes_heartbeat: bool,
}

/// What the silence of the backend is measured by.
#[derive(Clone, Copy, Debug)]
enum Silence {
    /// The first event is to be there by then; `None`: it may take any time.
    FirstEventBy(Option<Instant>),
    /// Until the first event, anything that the backend sends is a sign of life.
    AnythingWithin(Option<Duration>),
    /// `idle_timeout`.
    Idle,
}

/// When things happened, and what follows from it.
#[derive(Debug)]
pub struct Deadlines {
    heartbeat: Option<Duration>,
    idle_timeout: Option<Duration>,
    silence: Silence,
    max_duration_end: Option<Instant>,
    last_read: Instant,
    /// Since when whole events wait for an LF, however many have come since.
    lf_since: Option<Instant>,
    last_write: Instant,
    coalesce: Option<Duration>,
    last_events: Option<Instant>,
}

impl Deadlines {
    /// Of any body; only a stream [awaits its first event](Self::await_first_event).
    pub fn new(policy: &Policy, max_duration_end: Option<Instant>, now: Instant) -> Self {
        Self {
            heartbeat: policy.heartbeat,
            idle_timeout: policy.idle_timeout,
            silence: Silence::Idle,
            max_duration_end,
            last_read: now,
            lf_since: None,
            last_write: now,
            // Events that wait are written where a heartbeat would be, at the latest.
            coalesce: policy.coalesce.map(|window| policy.heartbeat.map_or(window, |beat| window.min(beat))),
            last_events: None,
        }
    }

    /// Makes `first_event_timeout` hold until the first event. `sent`: when the request was sent.
    pub fn await_first_event(&mut self, policy: &Policy, sent: Instant) {
        self.silence = Silence::FirstEventBy(policy.first_event_timeout.map(|limit| sent + limit));
    }

    /// Likewise for a stream that somebody listens to: nothing has been asked for that an event would be the answer to, and so
    /// each sign of life puts the end off.
    pub fn await_any_event(&mut self, policy: &Policy, sent: Instant) {
        self.silence = Silence::AnythingWithin(policy.first_event_timeout);
        self.last_read = sent;
    }

    /// Everything must be over by then.
    pub fn limit_to(&mut self, end: Option<Instant>) {
        self.max_duration_end = end;
    }

    /// Whether whole events wait for others.
    pub fn coalesces(&self) -> bool {
        self.coalesce.is_some()
    }

    /// Whether nothing is to be written yet of what is whole.
    pub fn holds_back(&self, now: Instant, situation: Situation) -> bool {
        self.release(situation).is_some_and(|at| now < at)
    }

    /// Until when what is whole waits.
    fn release(&self, situation: Situation) -> Option<Instant> {
        let next_write = self.last_events.zip(self.coalesce).map(|(last, window)| last + window);
        let next_write = next_write.filter(|_| situation.may_wait);
        let lf_end = situation.awaits_lf.then(|| self.lf_since.unwrap_or(self.last_read) + LF_GRACE);
        next_write.max(lf_end)
    }

    /// When something was last written to the client.
    pub fn last_write(&self) -> Instant {
        self.last_write
    }

    /// Something was read from the backend. `awaits_lf`: whole events are there that wait for an LF.
    pub fn read(&mut self, now: Instant, awaits_lf: bool) {
        self.last_read = now;
        self.lf_since = awaits_lf.then(|| self.lf_since.unwrap_or(now));
    }

    /// Something was written to the client. While that took, the backend was not read, so its silence begins anew.
    pub fn wrote(&mut self, now: Instant) {
        self.last_read = now;
        self.lf_since = None;
        self.last_write = now;
        self.last_events = Some(now);
    }

    /// A heartbeat was written: it feeds no timer of the backend's.
    pub fn beat(&mut self, now: Instant) {
        self.last_write = now;
    }

    /// The first event has arrived; from now on silence is what counts.
    pub fn first_event(&mut self) {
        self.silence = Silence::Idle;
    }

    /// When something is next due; `None`: never.
    pub fn next(&self, situation: Situation) -> Option<Instant> {
        self.deadlines(situation).into_iter().flatten().map(|(at, _)| at).min()
    }

    /// What is due now.
    pub fn due(&self, now: Instant, situation: Situation) -> Due {
        let mut due = self.deadlines(situation).into_iter().flatten().filter(|(at, _)| *at <= now);
        due.next().map_or(Due::Nothing, |(_, what)| what)
    }

    /// In the order of precedence.
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
