//! The time before the response header: early heartbeats, and until when the header is waited for.

use std::time::{Duration, Instant};

use sidestream::outcome::{EndedBy, Failure};
use sidestream::session::{Policy, Waiting};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn policy(early_heartbeat: Option<Duration>, heartbeat: Option<Duration>) -> Policy {
    Policy { early_heartbeat, heartbeat, first_event_timeout: None, ..Policy::default() }
}

/// A policy, and how long ago the request's head was read.
fn waiting(policy: &Policy) -> (Waiting, Instant) {
    let started = Instant::now();
    (Waiting::new(policy, started), started)
}

#[test]
fn the_first_early_heartbeat_has_a_time_of_its_own_and_the_next_ones_that_of_a_stream() {
    for (heartbeat, next) in [(Some(s(15)), s(25)), (None, s(20))] {
        let policy = policy(Some(s(10)), heartbeat);
        let (mut waiting, started) = waiting(&policy);
        // It counts from the head of the request, whatever is sent of the rest and when.
        waiting.handle_sent(started + s(3));
        assert_eq!(waiting.next_heartbeat(), Some(started + s(10)));
        waiting.handle_heartbeat(&policy, started + s(10));
        assert_eq!(waiting.next_heartbeat(), Some(started + next));
        waiting.stop_heartbeats();
        assert_eq!(waiting.next_heartbeat(), None);
    }
}

#[test]
fn without_early_heartbeats_there_is_none_before_the_header() {
    let (waiting, _) = waiting(&policy(None, Some(s(15))));
    assert_eq!(waiting.next_heartbeat(), None);
}

#[test]
fn the_header_is_waited_for_from_what_was_sent_last_and_up_to_the_end_of_all() {
    use Failure::{BodyTimeout, FirstEventTimeout, MaxDuration};
    // first_event_timeout, when something was sent last, the end of all, and whether the client is waited for; when that ends,
    // and what it is then.
    for (limit, sent, end, awaits_client, at, failure) in [
        (Some(10), None, None, false, Some(10), FirstEventTimeout),
        (Some(10), Some(3), None, false, Some(13), FirstEventTimeout),
        (Some(10), Some(3), None, true, Some(13), BodyTimeout),
        (Some(10), Some(3), Some(20), false, Some(13), FirstEventTimeout),
        (Some(10), Some(3), Some(20), true, Some(13), BodyTimeout),
        (Some(10), Some(3), Some(12), false, Some(12), MaxDuration),
        (Some(10), Some(3), Some(12), true, Some(12), MaxDuration),
        // As in a stream, where both are due at once.
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
fn a_client_that_does_not_send_its_request_on_is_the_one_at_fault() {
    let policy = Policy { first_event_timeout: Some(s(10)), ..policy(None, None) };
    let (waiting, _) = waiting(&policy);
    for (awaits_client, status, ended_by) in [(true, 408, EndedBy::Client), (false, 504, EndedBy::Proxy)] {
        let (_, failure) = waiting.end(&policy, None, awaits_client);
        assert_eq!((failure.facts().status, failure.facts().ended_by), (status, ended_by));
    }
}

#[test]
fn when_a_heartbeat_was_written_is_known_to_the_stream_that_follows() {
    let policy = policy(Some(s(10)), Some(s(15)));
    let (mut waiting, started) = waiting(&policy);
    assert_eq!(waiting.last_heartbeat(), None);
    waiting.handle_heartbeat(&policy, started + s(10));
    assert_eq!(waiting.last_heartbeat(), Some(started + s(10)));
}
