//! Every timer of a stream, to the millisecond: when it fires, what it does, and what postpones it.

use std::time::Duration;

use proptest::prelude::*;
use sidestream::outcome::Failure;
use sidestream::session::{Asked, BATCH, Close, Format, Policy, Unit};

use super::{Beginning, Driven, post};

const HEARTBEAT: &str = ": heartbeat\n";
const EVENT: &str = "data: x\n\n";
const CHAT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A policy with all timers off.
fn off() -> Policy {
    Policy { heartbeat: None, first_event_timeout: None, idle_timeout: None, ..Policy::default() }
}

fn with_heartbeat(heartbeat: Duration) -> Policy {
    Policy { heartbeat: Some(heartbeat), ..off() }
}

fn with_coalesce(coalesce: Duration) -> Policy {
    Policy { coalesce: Some(coalesce), ..off() }
}

fn of(format: Format) -> Beginning {
    Beginning { format, ..Beginning::default() }
}

/// A GET that subscribes to events.
fn listening(is_mcp: bool) -> Beginning {
    Beginning { asked: Asked::of_listener(is_mcp), ..Beginning::default() }
}

fn writes(driven: &Driven) -> Vec<(Duration, &str)> {
    driven.writes.iter().map(|(at, text)| (*at, text.as_str())).collect()
}

/// When the stream ended, and its failure.
fn ended(driven: &Driven) -> (Duration, Option<Failure>) {
    (driven.ended.expect("an end"), driven.failure())
}

#[test]
fn with_all_timers_off_there_is_no_deadline() {
    let policy = off();
    for beginning in
        [Beginning::default(), of(Format::Lines), of(Format::Opaque), listening(false), listening(true)]
    {
        let mut driven = Driven::beginning(&policy, beginning);
        assert_eq!(driven.next_wake(), None);
        assert_eq!(driven.backend("data: x\n\ndata: ha").next_wake(), None);
    }
}

#[test]
fn a_heartbeat_follows_each_silence_of_its_interval() {
    let policy = with_heartbeat(s(15));
    let mut driven = Driven::new(&policy);
    driven.passes(ms(44_999));
    assert_eq!(writes(&driven), [(s(15), HEARTBEAT), (s(30), HEARTBEAT)]);
    assert_eq!((driven.session.events(), driven.first_event), (0, None), "a heartbeat is not an event");
    driven.backend(EVENT).passes(s(15));
    assert_eq!(writes(&driven)[2..], [(ms(44_999), EVENT), (ms(59_999), HEARTBEAT)]);
    // A comment from the backend restarts the interval too. Bytes that are held back do not.
    driven.backend(": ping\n").passes(s(10)).backend("data: ha").passes(s(5));
    assert_eq!(writes(&driven)[4..], [(ms(59_999), ": ping\n"), (ms(74_999), HEARTBEAT)]);
    assert_eq!(driven.session.events(), 1);
}

#[test]
fn the_interval_counts_from_the_last_early_heartbeat() {
    let policy = with_heartbeat(s(15));
    let beginning =
        Beginning { header_after: s(24), early_heartbeat_after: Some(s(10)), ..Beginning::default() };
    let mut driven = Driven::beginning(&policy, beginning);
    driven.passes(s(10));
    assert_eq!(writes(&driven), [(s(25), HEARTBEAT)]);
}

#[test]
fn the_first_part_of_a_large_event_meets_the_first_event_timeout() {
    let policy = Policy { first_event_timeout: Some(s(10)), max_event_size: 8, ..off() };
    let mut driven = Driven::new(&policy);
    driven.backend("data: 0123456789").passes(s(20)).backend("\n\n").ends();
    assert_eq!(driven.outcome(), ("completed", Close::Clean));
}

#[test]
fn a_heartbeat_precedes_an_event_that_is_held_back() {
    let policy = with_heartbeat(s(15));
    for (half, rest) in
        [("data: h", "alf\n\n"), ("id: 7\n", "data: x\n\n"), (": ha", "lf\n"), ("id: 7\r", "\n\r\n")]
    {
        let mut driven = Driven::new(&policy);
        driven.backend(EVENT).backend(half).passes(s(15)).backend(rest);
        let whole = [half, rest].concat();
        assert_eq!(writes(&driven), [(s(0), EVENT), (s(15), HEARTBEAT), (s(15), &*whole)]);
    }
}

#[test]
fn there_is_no_heartbeat_inside_an_event_that_is_not_held_back() {
    let policy = Policy { max_event_size: 4, ..with_heartbeat(s(15)) };
    let mut driven = Driven::new(&policy);
    driven.backend("data: long");
    assert_eq!(driven.next_wake(), None);
    driven.passes(s(100)).backend(" and whole\n\n").passes(s(15));
    assert_eq!(driven.written(), format!("data: long and whole\n\n{HEARTBEAT}"));
    assert_eq!(driven.time(), s(115));
}

#[test]
fn a_heartbeat_after_a_cr_ends_with_a_cr() {
    // If it ended with an LF, the LF of the CRLF would add a blank line.
    let policy = with_heartbeat(s(15));
    let mut driven = Driven::new(&policy);
    driven.backend("data: a\r\n\r").passes(s(31)).backend("\ndata: b\r\n\r\n").passes(s(15));
    assert_eq!(
        writes(&driven),
        [
            (ms(20), "data: a\r\n\r"),
            (ms(15_020), ": heartbeat\r"),
            (ms(30_020), ": heartbeat\r"),
            (s(31), "\ndata: b\r\n\r\n"),
            (s(46), HEARTBEAT),
        ]
    );
}

#[test]
fn the_heartbeat_is_a_blank_line_while_the_dialect_may_be_gemini() {
    const PART: &str = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hi\"}]}}]}\r\n\r";
    let policy = with_heartbeat(s(15));
    let gemini = || post("/v1beta/models/m:streamGenerateContent", "{}");
    let mut driven = Driven::beginning(&policy, gemini());
    driven.passes(s(15)).backend(PART).passes(ms(15_020));
    assert_eq!(writes(&driven), [(s(15), "\n"), (ms(15_020), PART), (ms(30_020), "\r")]);

    let mut driven = Driven::beginning(&policy, gemini());
    driven.backend(CHAT).passes(s(15));
    assert_eq!(writes(&driven), [(s(0), CHAT), (s(15), HEARTBEAT)]);

    let mut driven = Driven::new(&policy);
    driven.backend(format!("{PART}\n")).passes(s(15));
    assert_eq!(driven.writes[1], (s(15), "\n".to_owned()), "recognized by its events");
}

#[test]
fn only_event_streams_with_a_client_get_heartbeats() {
    let policy = with_heartbeat(s(15));
    for (format, body) in [(Format::Lines, "{\"a\":1}\n"), (Format::Opaque, EVENT)] {
        let mut driven = Driven::beginning(&policy, of(format));
        assert_eq!(driven.next_wake(), None);
        assert_eq!(driven.backend(body).next_wake(), None);
    }
    let mut driven = Driven::new(&policy);
    assert_eq!(driven.backend(EVENT).client_leaves(None).next_wake(), None);

    let converted = Beginning { conversion: Some(Unit::Line), ..Beginning::default() };
    let mut driven = Driven::beginning(&policy, converted);
    driven.backend("{\"a\":1}\n").passes(s(15));
    assert_eq!(writes(&driven), [(s(0), "data: {\"a\":1}\n\n"), (s(15), HEARTBEAT)]);
}

#[test]
fn held_back_events_are_written_no_later_than_a_heartbeat() {
    let policy = Policy { coalesce: Some(s(60)), ..with_heartbeat(s(15)) };
    let mut driven = Driven::new(&policy);
    driven.backend("data: 1\n\n").passes(s(1)).backend("data: 2\n\n").passes(s(29));
    assert_eq!(writes(&driven), [(s(0), "data: 1\n\n"), (s(15), "data: 2\n\n"), (s(30), HEARTBEAT)]);

    // The same applies to events that wait for the LF of a CRLF.
    let mut driven = Driven::new(&policy);
    driven.passes(ms(14_990)).backend("data: a\r\n\r").passes(ms(15_020));
    assert_eq!(writes(&driven), [(ms(15_010), "data: a\r\n\r"), (ms(30_010), ": heartbeat\r")]);
}

#[test]
fn first_event_timeout_counts_from_the_request_and_only_an_event_meets_it() {
    let policy =
        Policy { first_event_timeout: Some(s(10)), idle_timeout: Some(s(2)), ..with_heartbeat(s(3)) };
    for no_event in ["", ": ping\n", ": ping\n\n", "event: ping\n\n", "id: 7\n\n", "\n", "data: ha"] {
        for header_after in [s(0), s(4)] {
            let beginning = Beginning { header_after, ..post("/", "{}") };
            let mut driven = Driven::beginning(&policy, beginning);
            driven.passes(s(9) - header_after).backend(no_event).passes(s(20));
            assert_eq!(ended(&driven), (s(10), Some(Failure::FirstEventTimeout)), "{no_event:?}");
        }
    }
    let late = Beginning { header_after: s(11), ..Beginning::default() };
    let mut driven = Driven::beginning(&policy, late);
    driven.passes(s(0));
    assert_eq!(ended(&driven), (s(11), Some(Failure::FirstEventTimeout)));
}

#[test]
fn idle_timeout_applies_only_after_the_first_event() {
    for first_event_timeout in [Some(s(10)), None] {
        let policy = Policy { first_event_timeout, idle_timeout: Some(s(2)), ..off() };
        for (format, event) in [(Format::EventStream, EVENT), (Format::Lines, "{\"a\":1}\n")] {
            let mut driven = Driven::beginning(&policy, of(format));
            assert_eq!(driven.next_wake(), first_event_timeout);
            driven.passes(s(9)).backend(event).passes(s(100));
            assert_eq!(ended(&driven), (s(11), Some(Failure::IdleTimeout)));
        }
    }
}

#[test]
fn a_first_event_that_waits_for_its_lf_is_in_time() {
    let policy = Policy { first_event_timeout: Some(s(10)), ..off() };
    let mut driven = Driven::new(&policy);
    driven.passes(ms(9_990)).backend("data: a\r\n\r").passes(s(100));
    assert_eq!(writes(&driven), [(ms(10_010), "data: a\r\n\r")]);
    assert_eq!(driven.ended, None);
}

#[test]
fn in_a_subscription_any_byte_restarts_first_event_timeout() {
    let policy = Policy { first_event_timeout: Some(s(10)), ..with_heartbeat(s(4)) };
    for sign in [": ping\n", "id: 7\n\n", "data: ha"] {
        let beginning = Beginning { header_after: s(1), ..listening(false) };
        let mut driven = Driven::beginning(&policy, beginning);
        driven.passes(s(8)).backend(sign).passes(s(100));
        assert_eq!(ended(&driven), (s(19), Some(Failure::FirstEventTimeout)), "{sign:?}");
    }
    // The response head and heartbeats do not restart it.
    let mut driven = Driven::beginning(&policy, Beginning { header_after: s(3), ..listening(false) });
    driven.passes(s(100));
    assert_eq!(ended(&driven), (s(10), Some(Failure::FirstEventTimeout)));

    let policy = Policy { first_event_timeout: Some(s(10)), idle_timeout: Some(s(2)), ..off() };
    let mut driven = Driven::beginning(&policy, listening(false));
    driven.passes(s(9)).backend(EVENT).passes(s(100));
    assert_eq!(ended(&driven), (s(11), Some(Failure::IdleTimeout)));
}

#[test]
fn mcp_subscriptions_and_opaque_bodies_have_no_first_event_timeout() {
    let policy = Policy { first_event_timeout: Some(s(1)), idle_timeout: Some(s(5)), ..off() };
    for beginning in [listening(true), of(Format::Opaque)] {
        let mut driven = Driven::beginning(&policy, beginning.clone());
        driven.passes(s(100));
        assert_eq!(ended(&driven), (s(5), Some(Failure::IdleTimeout)));
        let mut driven = Driven::beginning(&policy, beginning);
        driven.passes(s(4)).backend(": ping\n").passes(s(100));
        assert_eq!(ended(&driven), (s(9), Some(Failure::IdleTimeout)));
    }
}

#[test]
fn any_byte_from_the_backend_restarts_idle_timeout_and_heartbeats_do_not() {
    let policy = Policy { idle_timeout: Some(s(5)), ..with_heartbeat(s(2)) };
    for bytes in [EVENT, ": ping\n", "\n", "data: ha", "id: 7\n\n"] {
        let mut driven = Driven::new(&policy);
        driven.backend(EVENT).passes(s(4)).backend(bytes).passes(s(100));
        assert_eq!(ended(&driven), (s(9), Some(Failure::IdleTimeout)), "{bytes:?}");
    }
    let mut driven = Driven::new(&policy);
    driven.backend(EVENT).passes(s(100));
    assert_eq!(ended(&driven), (s(5), Some(Failure::IdleTimeout)));
    assert_eq!(writes(&driven)[1..3], [(s(2), HEARTBEAT), (s(4), HEARTBEAT)]);
}

#[test]
fn time_that_a_write_takes_does_not_count_as_idle() {
    let policy = Policy { idle_timeout: Some(s(5)), ..off() };
    let mut driven = Driven::new(&policy);
    driven.session.handle_bytes(EVENT.as_bytes(), driven.now);
    assert!(driven.session.poll_write(driven.now).is_some());
    driven.now += s(30);
    driven.session.handle_written(driven.now);
    assert_eq!(driven.next_wake(), Some(s(35)));
}

#[test]
fn a_timeout_ends_a_stream_like_a_broken_backend() {
    let policy = Policy { idle_timeout: Some(s(5)), max_event_size: 100, ..off() };
    let chat = || post("/v1/chat/completions", "{}");
    let torn = format!("{EVENT}data: {}", "x".repeat(100));
    let done = format!("{CHAT}data: [DONE]\n\n");
    let line = "{\"a\":1}\n";
    // The session, the bytes received, the bytes relayed, the beginning of the error event, the outcome and the close.
    for (beginning, bytes, written, error, outcome) in [
        (chat(), &*format!("{CHAT}data: ha"), CHAT, "event: error\ndata: {", ("idle_timeout", Close::Clean)),
        (chat(), &done, &done, "", ("completed", Close::Clean)),
        (post("/", "{}"), EVENT, EVENT, "event: error\ndata: {", ("idle_timeout", Close::Break)),
        (post("/", "{}"), &torn, &torn, "", ("idle_timeout", Close::Break)),
        (of(Format::Lines), line, line, "{\"error\":", ("idle_timeout", Close::Break)),
        (of(Format::Opaque), EVENT, EVENT, "", ("idle_timeout", Close::Break)),
    ] {
        let mut driven = Driven::beginning(&policy, beginning);
        driven.backend(bytes).passes(s(100));
        let said = driven.written();
        let said = said.strip_prefix(written).unwrap_or_else(|| panic!("{bytes:?} first: {said:?}"));
        assert_eq!(
            (driven.outcome(), driven.end().has_error_event),
            (outcome, !error.is_empty()),
            "{bytes:?}"
        );
        assert!(said.starts_with(error) && said.is_empty() == error.is_empty(), "{said:?} after {bytes:?}");
        assert_eq!(error.is_empty(), !said.contains("\"code\":\"idle_timeout\""), "{said:?}");
    }
}

#[test]
fn max_duration_ends_every_kind_of_body() {
    let policy = Policy { idle_timeout: Some(s(5)), first_event_timeout: Some(s(5)), ..with_heartbeat(s(2)) };
    for format in [Format::EventStream, Format::Lines, Format::Opaque] {
        let beginning = Beginning { header_after: s(3), end: Some(ms(20_500)), ..of(format) };
        let mut driven = Driven::beginning(&policy, beginning);
        for _ in 0..30 {
            driven.backend(EVENT).passes(s(1));
        }
        assert_eq!(ended(&driven), (ms(20_500), Some(Failure::MaxDuration)), "{format:?}");
        assert_eq!(driven.end().has_error_event, format != Format::Opaque);
    }
    let mut driven = Driven::beginning(&policy, Beginning { end: Some(s(1)), ..Beginning::default() });
    driven.backend("data: [DONE]\n\n").passes(s(9));
    assert_eq!(ended(&driven), (s(1), Some(Failure::MaxDuration)), "[DONE] is no known terminal event here");
    let ends = Beginning { end: Some(s(1)), ..post("/v1/chat/completions", "{}") };
    let mut driven = Driven::beginning(&policy, ends);
    driven.backend(CHAT).backend("data: [DONE]\n\n").passes(s(9));
    assert_eq!((ended(&driven), driven.outcome()), ((s(1), None), ("completed", Close::Clean)));
}

#[test]
fn without_its_client_a_response_is_drained_up_to_its_limit() {
    let policy = Policy { idle_timeout: Some(s(5)), ..with_heartbeat(s(1)) };
    let beginning = || Beginning { end: Some(s(60)), ..Beginning::default() };
    let begun = |driven: &mut Driven| {
        driven.backend(EVENT).passes(ms(500));
    };
    // Further events do not postpone the limit.
    let mut driven = Driven::beginning(&policy, beginning());
    begun(&mut driven);
    driven.client_leaves(Some(s(20)));
    for _ in 0..30 {
        driven.passes(s(1)).backend(EVENT);
    }
    assert_eq!(ended(&driven), (ms(20_500), Some(Failure::MaxDuration)));
    assert!(!driven.written().contains(HEARTBEAT), "a heartbeat without a client");
    // idle_timeout still applies.
    let mut driven = Driven::beginning(&policy, beginning());
    begun(&mut driven);
    driven.client_leaves(Some(s(20))).passes(s(100));
    assert_eq!(ended(&driven), (s(5), Some(Failure::IdleTimeout)));
    // A body that ends within the limit is complete.
    let mut driven = Driven::beginning(&policy, beginning());
    begun(&mut driven);
    driven.client_leaves(Some(s(20))).passes(s(4)).ends().passes(s(100));
    assert_eq!((ended(&driven), driven.outcome().0), ((ms(4_500), None), "completed"));
    // The limit replaces max_duration.
    let mut driven = Driven::beginning(&policy, beginning());
    begun(&mut driven);
    driven.client_leaves(None);
    for _ in 0..100 {
        driven.passes(s(1)).backend(EVENT);
    }
    assert_eq!(driven.ended, None);
}

#[test]
fn events_wait_for_the_lf_of_their_crlf_for_20_ms() {
    let policy = off();
    let after = |wait| {
        let mut driven = Driven::new(&policy);
        driven.backend("data: a\r\n\r").passes(wait).backend("\ndata: b\r\n\r\n").passes(s(1));
        driven.writes
    };
    assert_eq!(after(ms(19)), [(ms(19), "data: a\r\n\r\ndata: b\r\n\r\n".to_owned())]);
    let late = [(ms(20), "data: a\r\n\r".to_owned()), (ms(21), "\ndata: b\r\n\r\n".to_owned())];
    assert_eq!(after(ms(21)), late);

    // The end of the body and a failure end the wait.
    let mut driven = Driven::new(&policy);
    driven.backend("data: a\r\n\r").passes(ms(1)).ends();
    assert_eq!(writes(&driven), [(ms(1), "data: a\r\n\r")]);
    let mut driven = Driven::new(&policy);
    driven.backend("data: a\r\n\r").passes(ms(1)).breaks();
    assert!(driven.writes[0].1.starts_with("data: a\r\n\revent: error\n"), "{:?}", driven.writes);
    assert_eq!(driven.writes[0].0, ms(1));

    // There is no wait after bare CRs or after an LF.
    for event in ["data: a\r\r", "data: a\r\n\n", "data: a\n\r\n", "id: 1\rdata: a\r\r"] {
        let mut driven = Driven::new(&policy);
        assert_eq!(driven.backend(event).next_wake(), None, "{event:?}");
        assert_eq!(writes(&driven), [(s(0), event)]);
    }
}

#[test]
fn a_full_batch_does_not_wait_for_an_lf() {
    // While a batch is full, nothing is read, so the LF could not arrive.
    let policy = off();
    let event = "data: 123456\r\n\r\n";
    let batch = event.repeat(BATCH / event.len());
    let last = format!("{batch}data: a\r\n\r");
    let mut driven = Driven::new(&policy);
    assert_eq!(driven.backend(&last).next_wake(), None);
    assert_eq!(writes(&driven), [(s(0), &*last)]);
}

#[test]
fn coalesce_writes_continuous_events_once_per_window() {
    let policy = with_coalesce(ms(100));
    let mut driven = Driven::new(&policy);
    for _ in 0..8 {
        driven.backend(EVENT).passes(ms(30));
    }
    let (one, three) = (EVENT, EVENT.repeat(3));
    assert_eq!(writes(&driven), [(s(0), one), (ms(100), &*three), (ms(200), &*three)]);
    // The last event waits no longer than a window. After a silence of a window, an event does not wait.
    driven.passes(s(1)).backend(EVENT);
    assert_eq!(writes(&driven)[3..], [(ms(300), one), (ms(1240), one)]);
    assert_eq!(driven.next_wake(), None);
}

#[test]
fn without_coalesce_events_are_written_at_once() {
    let policy = off();
    let mut driven = Driven::new(&policy);
    for _ in 0..3 {
        driven.backend(EVENT).passes(ms(1));
    }
    assert_eq!(writes(&driven), [(ms(0), EVENT), (ms(1), EVENT), (ms(2), EVENT)]);
}

#[test]
fn the_first_event_and_the_end_of_an_answer_are_not_coalesced() {
    let policy = with_coalesce(s(600));
    for last in [
        "data: [DONE]\n\n",
        "data: {\"error\":{\"message\":\"m\"}}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    ] {
        let mut driven = Driven::new(&policy);
        driven.backend(": ping\n").passes(s(1)).backend(CHAT).passes(s(1));
        driven.backend(CHAT).passes(s(1)).backend(last).passes(s(1)).backend(": more\n");
        let together = [CHAT, last].concat();
        assert_eq!(
            writes(&driven),
            [(s(0), ": ping\n"), (s(1), CHAT), (s(3), &*together), (s(4), ": more\n")]
        );
    }
}

#[test]
fn an_end_or_a_failure_releases_held_back_events() {
    let policy = with_coalesce(s(600));
    let begun = || {
        let mut driven = Driven::new(&policy);
        driven.backend("data: 1\n\n").passes(s(1)).backend("data: 2\n\n").passes(s(1));
        driven
    };
    let mut driven = begun();
    driven.ends();
    assert_eq!(writes(&driven), [(s(0), "data: 1\n\n"), (s(2), "data: 2\n\n")]);
    let mut driven = begun();
    driven.backend("data: to").breaks();
    let (at, last) = &driven.writes[1];
    assert!(last.starts_with("data: 2\n\nevent: error\n") && *at == s(2), "{last:?} at {at:?}");
}

#[test]
fn a_full_batch_is_not_coalesced() {
    let policy = with_coalesce(s(600));
    let mut driven = Driven::new(&policy);
    let half = format!("data: {}\n\n", "x".repeat(BATCH / 2));
    driven.backend(EVENT).passes(s(1)).backend(&half).passes(s(1)).backend(&half);
    assert_eq!(writes(&driven)[1..], [(s(2), &*half.repeat(2))]);
}

#[test]
fn lines_are_coalesced_and_opaque_bodies_are_not() {
    let policy = with_coalesce(ms(100));
    for (format, at) in [(Format::Lines, ms(100)), (Format::Opaque, ms(1))] {
        let mut driven = Driven::beginning(&policy, of(format));
        driven.backend("{\"a\":1}\n").passes(ms(1)).backend("{\"a\":2}\n").passes(s(1));
        assert_eq!(writes(&driven), [(s(0), "{\"a\":1}\n"), (at, "{\"a\":2}\n")]);
    }
}

#[test]
fn events_wait_for_both_the_window_and_the_lf() {
    let policy = with_coalesce(ms(100));
    for (read, written) in [(50, 100), (95, 115)] {
        let mut driven = Driven::new(&policy);
        driven.backend("data: a\r\n\r\n").passes(ms(read)).backend("data: b\r\n\r").passes(s(1));
        assert_eq!(writes(&driven)[1..], [(ms(written), "data: b\r\n\r")]);
    }
}

#[test]
fn further_events_do_not_prolong_the_wait_for_an_lf() {
    let mut driven = Driven::new(&Policy::default());
    driven.backend(EVENT).passes(ms(11));
    for _ in 0..4 {
        driven.backend("data: x\r\n\r").passes(ms(15));
    }
    let times: Vec<_> = driven.writes.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [s(0), ms(31), ms(61)]);
}

#[test]
fn simultaneous_timers_fire_in_the_order_of_precedence() {
    use Failure::{FirstEventTimeout, IdleTimeout, MaxDuration};
    let policy = Policy { first_event_timeout: Some(s(4)), idle_timeout: Some(s(4)), ..with_heartbeat(s(4)) };
    // The end of max_duration, the bytes received, the failure.
    for (end, bytes, failure) in [
        (Some(s(4)), "", MaxDuration),
        (None, "", FirstEventTimeout),
        (Some(s(4)), EVENT, MaxDuration),
        (None, EVENT, IdleTimeout),
    ] {
        let mut driven = Driven::beginning(&policy, Beginning { end, ..Beginning::default() });
        driven.backend(bytes).passes(s(10));
        assert_eq!(ended(&driven), (s(4), Some(failure)));
        assert!(!driven.written().contains(HEARTBEAT), "no heartbeat before the error event");
    }

    // Held-back events are written together with the error event.
    let policy = Policy { idle_timeout: Some(s(4)), ..with_coalesce(s(5)) };
    let mut driven = Driven::new(&policy);
    driven.backend(EVENT).passes(s(1)).backend(EVENT).passes(s(10));
    assert_eq!((ended(&driven), driven.writes.len()), ((s(5), Some(IdleTimeout)), 2));
    assert!(driven.writes[1].1.starts_with(&format!("{EVENT}event: error\n")));

    // Held-back events replace the heartbeat.
    let policy = Policy { coalesce: Some(s(4)), ..with_heartbeat(s(4)) };
    let mut driven = Driven::new(&policy);
    driven.backend(EVENT).passes(s(1)).backend(EVENT).passes(s(8));
    assert_eq!(writes(&driven), [(s(0), EVENT), (s(4), EVENT), (s(8), HEARTBEAT)]);
}

proptest! {
    /// [`Driven::passes`] checks that there are no useless wake-ups.
    #[test]
    fn no_wake_up_is_useless_and_no_event_waits_too_long(
        steps in prop::collection::vec((0usize..12, 0u64..400), 0..30),
        heartbeat in prop::sample::select(vec![None, Some(ms(25)), Some(ms(70)), Some(s(1))]),
        coalesce in prop::sample::select(vec![None, Some(ms(10)), Some(ms(50)), Some(s(2))]),
        idle_timeout in prop::sample::select(vec![None, Some(ms(200))]),
        first_event_timeout in prop::sample::select(vec![None, Some(ms(300))]),
        is_small in any::<bool>(),
        format in prop::sample::select(vec![Format::EventStream, Format::Lines, Format::Opaque]),
        listens in any::<bool>(),
    ) {
        const PIECES: [&str; 12] = [
            "data: x\n\n", "data: x\r\n\r\n", "data: x\r\n\r", "data: x\r\r", "\n", "\r", ": c\n", ": c\r", "da", "ta: x",
            CHAT, "data: [DONE]\n\n",
        ];
        let max_event_size = if is_small { 4 } else { 1 << 20 };
        let policy = Policy { heartbeat, coalesce, idle_timeout, first_event_timeout, max_event_size, ..Policy::default() };
        let beginning = if listens { Beginning { format, ..listening(false) } } else { of(format) };
        let mut driven = Driven::beginning(&policy, beginning);
        for (piece, pause) in steps {
            driven.backend(PIECES[piece]).passes(ms(pause));
            if driven.ended.is_some() {
                break;
            }
            prop_assert!(driven.next_wake().is_none_or(|due| due > driven.time()), "a deadline in the past");
            let last_write = driven.writes.last().map_or(s(0), |(at, _)| *at);
            if let (Some(heartbeat), Format::EventStream, false) = (heartbeat, format, is_small) {
                prop_assert!(driven.time() - last_write < heartbeat + ms(20), "silence");
            }
        }
        if driven.ended.is_none() {
            driven.passes(coalesce.unwrap_or_default().max(ms(20)));
            prop_assert_eq!(driven.session.ready(), 0, "complete events are still held back");
        }
    }
}
