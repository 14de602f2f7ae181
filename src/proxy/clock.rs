//! The times of one response: when it is next due for something. Sans-IO; the relay owns the one timer.

use std::time::Duration;
use tokio::time::Instant;

use crate::config::StreamPolicy;
use crate::outcome::UpstreamFault;

/// What a timer is set to when nothing is due: no process lives that long, and no clock overflows.
pub const FAR: Duration = Duration::from_secs(366 * 24 * 3600);

/// How long whole events wait for the LF of their last CRLF, when the CR came alone.
const LF_GRACE: Duration = Duration::from_millis(20);

/// What a response is due for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Nothing,
    /// Events that waited, for the LF of their last CRLF or for others, are to be written.
    ReleaseEvents,
    Heartbeat,
    Fault(UpstreamFault),
}

/// The state of a response that decides what can become due.
#[derive(Clone, Copy, Debug, Default)]
pub struct Situation {
    pub awaits_lf: bool,
    /// Whole events are there that may wait for the next write of `coalesce`.
    pub may_wait: bool,
    /// A heartbeat may be written here.
    pub between_events: bool,
}

/// When things happened, and what follows from it.
#[derive(Debug)]
pub struct Clock {
    heartbeat: Option<Duration>,
    idle_timeout: Option<Duration>,
    /// Until the first event, this deadline stands for the idle timeout.
    first_event_end: Option<Instant>,
    max_duration_end: Option<Instant>,
    last_read: Instant,
    last_write: Instant,
    coalesce: Option<Duration>,
    last_events: Option<Instant>,
}

impl Clock {
    /// The clock of an event stream. `sent`: when the request was sent, which is where the wait for the first event
    /// begins.
    pub fn of_stream(policy: &StreamPolicy, sent: Instant, max_duration_end: Option<Instant>) -> Self {
        let now = Instant::now();
        let mut clock = Self::of_body(policy, max_duration_end);
        // A year stands for "off": waiting for the first event keeps the idle timeout out.
        let limit = policy.first_event_timeout.unwrap_or(Duration::from_secs(366 * 24 * 3600));
        clock.first_event_end = Some(sent + limit);
        clock.heartbeat = policy.heartbeat;
        clock.coalesce = policy.coalesce;
        clock.last_write = now;
        clock
    }

    /// The clock of any other body.
    pub fn of_body(policy: &StreamPolicy, max_duration_end: Option<Instant>) -> Self {
        let now = Instant::now();
        Self {
            heartbeat: None,
            idle_timeout: policy.idle_timeout,
            first_event_end: None,
            max_duration_end,
            last_read: now,
            last_write: now,
            coalesce: None,
            last_events: None,
        }
    }

    /// Everything must be over by then.
    pub fn limit_to(&mut self, end: Option<Instant>) {
        self.max_duration_end = end;
    }

    /// Whether nothing is to be written yet of what is whole.
    pub fn holds_back(&self, now: Instant, situation: Situation) -> bool {
        self.release(situation).is_some_and(|at| now < at)
    }

    /// Until when what is whole waits.
    fn release(&self, situation: Situation) -> Option<Instant> {
        let next_write = self.last_events.zip(self.coalesce).map(|(last, window)| last + window);
        let next_write = next_write.filter(|_| situation.may_wait);
        let lf_end = situation.awaits_lf.then(|| self.last_read + LF_GRACE);
        next_write.max(lf_end)
    }

    /// Something was read from the backend.
    pub fn read(&mut self, now: Instant) {
        self.last_read = now;
    }

    /// Something was written to the client. While that took, the backend was not read, so its silence begins anew.
    pub fn wrote(&mut self, now: Instant) {
        self.last_read = now;
        self.last_write = now;
        self.last_events = Some(now);
    }

    /// A heartbeat was written: it feeds no timer of the backend's.
    pub fn beat(&mut self, now: Instant) {
        self.last_write = now;
    }

    /// The first event has arrived; from now on silence is what counts.
    pub fn first_event(&mut self) {
        self.first_event_end = None;
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
        let silence_end = match self.first_event_end {
            Some(end) => Some((end, Due::Fault(UpstreamFault::FirstEventTimeout))),
            None => self.idle_timeout.map(|d| (self.last_read + d, Due::Fault(UpstreamFault::IdleTimeout))),
        };
        let heartbeat = self.heartbeat.filter(|_| situation.between_events);
        [
            self.max_duration_end.map(|end| (end, Due::Fault(UpstreamFault::MaxDuration))),
            silence_end,
            self.release(situation).map(|at| (at, Due::ReleaseEvents)),
            heartbeat.map(|d| (self.last_write + d, Due::Heartbeat)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BETWEEN: Situation = Situation { awaits_lf: false, may_wait: false, between_events: true };

    fn policy() -> StreamPolicy {
        StreamPolicy {
            heartbeat: Some(Duration::from_secs(1)),
            first_event_timeout: Some(Duration::from_secs(10)),
            idle_timeout: Some(Duration::from_secs(5)),
            ..StreamPolicy::default()
        }
    }

    #[test]
    fn heartbeats_do_not_feed_the_idle_timeout() {
        let start = Instant::now();
        let mut clock = Clock::of_stream(&policy(), start, None);
        clock.first_event();
        clock.wrote(start);
        for second in 1..5 {
            let now = start + Duration::from_secs(second);
            assert_eq!(clock.due(now, BETWEEN), Due::Heartbeat);
            clock.beat(now);
        }
        let end = start + Duration::from_secs(5);
        assert_eq!(clock.due(end, BETWEEN), Due::Fault(UpstreamFault::IdleTimeout));
    }

    #[test]
    fn the_idle_timeout_waits_for_the_first_event() {
        let start = Instant::now();
        let mut clock = Clock::of_stream(&StreamPolicy { heartbeat: None, ..policy() }, start, None);
        assert_eq!(clock.next(BETWEEN), Some(start + Duration::from_secs(10)));
        clock.first_event();
        clock.wrote(start);
        assert_eq!(clock.next(BETWEEN), Some(start + Duration::from_secs(5)));
    }

    #[test]
    fn no_heartbeat_is_due_inside_an_event() {
        let start = Instant::now();
        let mut clock = Clock::of_stream(&policy(), start, None);
        clock.first_event();
        clock.wrote(start);
        let inside = Situation { between_events: false, ..BETWEEN };
        assert_eq!(clock.due(start + Duration::from_secs(2), inside), Due::Nothing);
    }

    #[test]
    fn events_that_keep_coming_are_written_once_in_a_window_and_the_first_at_once() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let coalesce = Some(Duration::from_millis(50));
        let mut clock = Clock::of_stream(&StreamPolicy { coalesce, ..policy() }, start, None);
        let waiting = Situation { may_wait: true, ..BETWEEN };
        assert!(!clock.holds_back(at(0), waiting));
        clock.wrote(at(0));
        assert!(clock.holds_back(at(10), waiting) && clock.holds_back(at(49), waiting));
        assert!(!clock.holds_back(at(10), BETWEEN), "what is urgent does not wait");
        assert_eq!(clock.due(at(50), waiting), Due::ReleaseEvents);
        clock.wrote(at(50));
        assert!(!clock.holds_back(at(120), waiting), "after a silence nothing waits");
    }
}
