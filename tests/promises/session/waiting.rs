//! The time before the response head: early heartbeats and timeouts.

use std::time::{Duration, Instant};

use sidestream::outcome::{EndedBy, Failure};
use sidestream::session::{Policy, Waiting};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn policy(early_heartbeat: Option<Duration>, heartbeat: Option<Duration>) -> Policy {
    Policy { early_heartbeat, heartbeat, first_event_timeout: None, ..Policy::default() }
}

/// The timers of a request, and when its head was read.
fn waiting(policy: &Policy) -> (Waiting, Instant) {
    let started = Instant::now();
    (Waiting::new(policy, started), started)
}

#[test]
fn early_heartbeat_delays_the_first_one_and_heartbeat_the_next_ones() {
    for (heartbeat, next) in [(Some(s(15)), s(25)), (None, s(20))] {
        let policy = policy(Some(s(10)), heartbeat);
        let (mut waiting, started) = waiting(&policy);
        // The time counts from the request head, whenever the rest is sent.
        waiting.handle_sent(started + s(3));
        assert_eq!(waiting.next_heartbeat(), Some(started + s(10)));
        waiting.handle_heartbeat(&policy, started + s(10));
        assert_eq!(waiting.next_heartbeat(), Some(started + next));
        waiting.stop_heartbeats();
        assert_eq!(waiting.next_heartbeat(), None);
    }
}

#[test]
fn without_early_heartbeat_there_is_no_heartbeat_before_the_head() {
    let (waiting, _) = waiting(&policy(None, Some(s(15))));
    assert_eq!(waiting.next_heartbeat(), None);
}

#[test]
fn the_timeout_counts_from_the_last_send_and_max_duration_limits_it() {
    use Failure::{BodyTimeout, FirstEventTimeout, MaxDuration};
    // first_event_timeout, last send, end of max_duration, whether the client causes the delay; deadline, failure.
    for (limit, sent, end, awaits_client, at, failure) in [
        (Some(10), None, None, false, Some(10), FirstEventTimeout),
        (Some(10), Some(3), None, false, Some(13), FirstEventTimeout),
        (Some(10), Some(3), None, true, Some(13), BodyTimeout),
        (Some(10), Some(3), Some(20), false, Some(13), FirstEventTimeout),
        (Some(10), Some(3), Some(20), true, Some(13), BodyTimeout),
        (Some(10), Some(3), Some(12), false, Some(12), MaxDuration),
        (Some(10), Some(3), Some(12), true, Some(12), MaxDuration),
        // If both are due at once, max_duration takes precedence, as within a stream.
        (Some(10), Some(3), Some(13), false, Some(13), MaxDuration),
        (Some(10), Some(3), Some(13), true, Some(13), MaxDuration),
        (None, Some(3), Some(20), false, Some(20), MaxDuration),
        (None, Some(3), Some(20), true, Some(20), MaxDuration),
    ] {
        let policy = Policy { first_event_timeout: limit.map(s), ..policy(None, None) };
        let (mut waiting, started) = waiting(&policy);
        if let Some(sent) = sent {
            waiting.handle_sent(started + s(sent));
        }
        let found = waiting.end(&policy, end.map(|end| started + s(end)), awaits_client);
        assert_eq!(found, (at.map(|at| started + s(at)), failure));
    }
    let policy = policy(None, None);
    let (waiting, _) = waiting(&policy);
    assert_eq!(waiting.end(&policy, None, true).0, None);
}

#[test]
fn a_client_that_stops_sending_its_request_is_at_fault() {
    let policy = Policy { first_event_timeout: Some(s(10)), ..policy(None, None) };
    let (waiting, _) = waiting(&policy);
    for (awaits_client, status, ended_by) in [(true, 408, EndedBy::Client), (false, 504, EndedBy::Proxy)] {
        let (_, failure) = waiting.end(&policy, None, awaits_client);
        assert_eq!((failure.facts().status, failure.facts().ended_by), (status, ended_by));
    }
}

#[test]
fn the_last_early_heartbeat_is_known() {
    let policy = policy(Some(s(10)), Some(s(15)));
    let (mut waiting, started) = waiting(&policy);
    assert_eq!(waiting.last_heartbeat(), None);
    waiting.handle_heartbeat(&policy, started + s(10));
    assert_eq!(waiting.last_heartbeat(), Some(started + s(10)));
}
