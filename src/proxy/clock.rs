//! The times of one response: when it is next due for something. Sans-IO; the relay owns the one timer.

use std::time::Duration;
use tokio::time::Instant;

use super::outcome::UpstreamFault;
use crate::config::StreamPolicy;

/// How long whole events wait for the LF of their last CRLF, when the CR came alone.
const LF_GRACE: Duration = Duration::from_millis(20);

/// What a response is due for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Nothing,
    /// The LF did not come: what waits for it is to be written.
    ReleaseEvents,
    Heartbeat,
    Fault(UpstreamFault),
}

/// The state of a response that decides what can become due.
#[derive(Clone, Copy, Debug, Default)]
pub struct Situation {
    pub awaits_lf: bool,
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
        }
    }

    /// Something was read from the backend.
    pub fn read(&mut self, now: Instant) {
        self.last_read = now;
    }

    /// Something was written to the client. While that took, the backend was not read, so its silence begins anew.
    pub fn wrote(&mut self, now: Instant) {
        self.last_read = now;
        self.last_write = now;
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
            situation.awaits_lf.then(|| (self.last_read + LF_GRACE, Due::ReleaseEvents)),
            heartbeat.map(|d| (self.last_write + d, Due::Heartbeat)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BETWEEN: Situation = Situation { awaits_lf: false, between_events: true };

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
        let inside = Situation { awaits_lf: false, between_events: false };
        assert_eq!(clock.due(start + Duration::from_secs(2), inside), Due::Nothing);
    }
}
