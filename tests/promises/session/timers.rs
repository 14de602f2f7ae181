//! Every timer of a stream, to the millisecond: when it fires, what it writes or how it ends the stream, and what puts it off.

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

/// All timers that can be off are.
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

/// A GET that somebody listens to, over MCP or not.
fn listening(is_mcp: bool) -> Beginning {
    Beginning { asked: Asked::of_listener(is_mcp), ..Beginning::default() }
}

fn writes(driven: &Driven) -> Vec<(Duration, &str)> {
    driven.writes.iter().map(|(at, text)| (*at, text.as_str())).collect()
}

/// When the stream ended, and for what failure.
fn ended(driven: &Driven) -> (Duration, Option<Failure>) {
    (driven.ended.expect("an end"), driven.failure())
}

#[test]
fn with_all_timers_off_nothing_is_ever_due() {
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
    assert_eq!((driven.session.events(), driven.first_event), (0, None), "a heartbeat is no event");
    driven.backend(EVENT).passes(s(15));
    assert_eq!(writes(&driven)[2..], [(ms(44_999), EVENT), (ms(59_999), HEARTBEAT)]);
    // So does a comment of the backend's, and nothing that is not written.
    driven.backend(": ping\n").passes(s(10)).backend("data: ha").passes(s(5));
    assert_eq!(writes(&driven)[4..], [(ms(59_999), ": ping\n"), (ms(74_999), HEARTBEAT)]);
    assert_eq!(driven.session.events(), 1);
}

#[test]
fn silence_that_began_before_the_header_goes_on_after_it() {
    let policy = with_heartbeat(s(15));
    let beginning =
        Beginning { header_after: s(24), early_heartbeat_after: Some(s(10)), ..Beginning::default() };
    let mut driven = Driven::beginning(&policy, beginning);
    driven.passes(s(10));
    assert_eq!(writes(&driven), [(s(25), HEARTBEAT)]);
}

#[test]
fn a_first_event_that_passes_in_parts_has_come_with_its_first_one() {
    let policy = Policy { first_event_timeout: Some(s(10)), max_event_size: 8, ..off() };
    let mut driven = Driven::new(&policy);
    driven.backend("data: 0123456789").passes(s(20)).backend("\n\n").ends();
    assert_eq!(driven.outcome(), ("completed", Close::Clean));
}

#[test]
fn a_heartbeat_stands_before_an_event_that_is_held_back_and_not_in_it() {
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
fn no_heartbeat_stands_inside_an_event_that_passes_unheld() {
    let policy = Policy { max_event_size: 4, ..with_heartbeat(s(15)) };
    let mut driven = Driven::new(&policy);
    driven.backend("data: long");
    assert_eq!(driven.next_wake(), None);
    driven.passes(s(100)).backend(" and whole\n\n").passes(s(15));
    assert_eq!(driven.written(), format!("data: long and whole\n\n{HEARTBEAT}"));
    assert_eq!(driven.time(), s(115));
}

#[test]
fn a_heartbeat_after_a_cr_leaves_room_for_its_lf() {
    // With an LF at its own end, the LF that still comes would end a blank line.
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
fn geminis_heartbeat_is_a_blank_line_as_long_as_the_stream_may_be_geminis() {
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
    assert_eq!(driven.writes[1], (s(15), "\n".to_owned()), "learned from its events");
}

#[test]
fn only_event_streams_whose_client_is_there_take_heartbeats() {
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
fn events_that_wait_are_written_where_a_heartbeat_would_be() {
    let policy = Policy { coalesce: Some(s(60)), ..with_heartbeat(s(15)) };
    let mut driven = Driven::new(&policy);
    driven.backend("data: 1\n\n").passes(s(1)).backend("data: 2\n\n").passes(s(29));
    assert_eq!(writes(&driven), [(s(0), "data: 1\n\n"), (s(15), "data: 2\n\n"), (s(30), HEARTBEAT)]);

    // Likewise while the LF of a CRLF is waited for.
    let mut driven = Driven::new(&policy);
    driven.passes(ms(14_990)).backend("data: a\r\n\r").passes(ms(15_020));
    assert_eq!(writes(&driven), [(ms(15_010), "data: a\r\n\r"), (ms(30_010), ": heartbeat\r")]);
}

#[test]
fn the_first_event_is_waited_for_from_the_request_on_and_nothing_but_an_event_ends_that() {
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
fn from_the_first_event_on_the_idle_timeout_counts_and_not_before() {
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
fn a_first_event_that_waits_for_its_lf_has_come_in_time() {
    let policy = Policy { first_event_timeout: Some(s(10)), ..off() };
    let mut driven = Driven::new(&policy);
    driven.passes(ms(9_990)).backend("data: a\r\n\r").passes(s(100));
    assert_eq!(writes(&driven), [(ms(10_010), "data: a\r\n\r")]);
    assert_eq!(driven.ended, None);
}

#[test]
fn where_somebody_listens_each_sign_of_life_puts_the_first_event_timeout_off() {
    let policy = Policy { first_event_timeout: Some(s(10)), ..with_heartbeat(s(4)) };
    for sign in [": ping\n", "id: 7\n\n", "data: ha"] {
        let beginning = Beginning { header_after: s(1), ..listening(false) };
        let mut driven = Driven::beginning(&policy, beginning);
        driven.passes(s(8)).backend(sign).passes(s(100));
        assert_eq!(ended(&driven), (s(19), Some(Failure::FirstEventTimeout)), "{sign:?}");
    }
    // Neither the header nor a heartbeat is one.
    let mut driven = Driven::beginning(&policy, Beginning { header_after: s(3), ..listening(false) });
    driven.passes(s(100));
    assert_eq!(ended(&driven), (s(10), Some(Failure::FirstEventTimeout)));

    let policy = Policy { first_event_timeout: Some(s(10)), idle_timeout: Some(s(2)), ..off() };
    let mut driven = Driven::beginning(&policy, listening(false));
    driven.passes(s(9)).backend(EVENT).passes(s(100));
    assert_eq!(ended(&driven), (s(11), Some(Failure::IdleTimeout)));
}

#[test]
fn over_mcp_and_in_other_bodies_no_first_event_is_waited_for() {
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
fn every_byte_of_the_backends_feeds_the_idle_timeout_and_nothing_else_does() {
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
fn while_a_client_takes_its_time_the_backend_is_not_idle() {
    let policy = Policy { idle_timeout: Some(s(5)), ..off() };
    let mut driven = Driven::new(&policy);
    driven.session.handle_bytes(EVENT.as_bytes(), driven.now);
    assert!(driven.session.poll_write(driven.now).is_some());
    driven.now += s(30);
    driven.session.handle_written(driven.now);
    assert_eq!(driven.next_wake(), Some(s(35)));
}

#[test]
fn a_timeout_ends_a_stream_as_a_break_of_its_backend_would() {
    let policy = Policy { idle_timeout: Some(s(5)), max_event_size: 100, ..off() };
    let chat = || post("/v1/chat/completions", "{}");
    let torn = format!("{EVENT}data: {}", "x".repeat(100));
    let done = format!("{CHAT}data: [DONE]\n\n");
    let line = "{\"a\":1}\n";
    // How it begins, what comes, and what is written; the error event; the outcome, and how the client's side ends.
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
fn max_duration_ends_whatever_still_runs() {
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
    assert_eq!(ended(&driven), (s(1), Some(Failure::MaxDuration)), "nobody knows that this was its end");
    let ends = Beginning { end: Some(s(1)), ..post("/v1/chat/completions", "{}") };
    let mut driven = Driven::beginning(&policy, ends);
    driven.backend(CHAT).backend("data: [DONE]\n\n").passes(s(9));
    assert_eq!((ended(&driven), driven.outcome()), ((s(1), None), ("completed", Close::Clean)));
}

#[test]
fn without_its_client_an_answer_is_read_on_up_to_the_limit_for_that() {
    let policy = Policy { idle_timeout: Some(s(5)), ..with_heartbeat(s(1)) };
    let beginning = || Beginning { end: Some(s(60)), ..Beginning::default() };
    let begun = |driven: &mut Driven| {
        driven.backend(EVENT).passes(ms(500));
    };
    // Events that keep coming do not put it off.
    let mut driven = Driven::beginning(&policy, beginning());
    begun(&mut driven);
    driven.client_leaves(Some(s(20)));
    for _ in 0..30 {
        driven.passes(s(1)).backend(EVENT);
    }
    assert_eq!(ended(&driven), (ms(20_500), Some(Failure::MaxDuration)));
    assert!(!driven.written().contains(HEARTBEAT), "nobody is there to take a heartbeat");
    // A backend that falls silent does not get all of it.
    let mut driven = Driven::beginning(&policy, beginning());
    begun(&mut driven);
    driven.client_leaves(Some(s(20))).passes(s(100));
    assert_eq!(ended(&driven), (s(5), Some(Failure::IdleTimeout)));
    // One that is in time has ended.
    let mut driven = Driven::beginning(&policy, beginning());
    begun(&mut driven);
    driven.client_leaves(Some(s(20))).passes(s(4)).ends().passes(s(100));
    assert_eq!((ended(&driven), driven.outcome().0), ((ms(4_500), None), "completed"));
    // It takes the place of the limit that was there.
    let mut driven = Driven::beginning(&policy, beginning());
    begun(&mut driven);
    driven.client_leaves(None);
    for _ in 0..100 {
        driven.passes(s(1)).backend(EVENT);
    }
    assert_eq!(driven.ended, None);
}

#[test]
fn the_lf_of_a_crlf_is_waited_for_as_long_as_it_takes_to_come_and_no_longer() {
    let policy = off();
    let after = |wait| {
        let mut driven = Driven::new(&policy);
        driven.backend("data: a\r\n\r").passes(wait).backend("\ndata: b\r\n\r\n").passes(s(1));
        driven.writes
    };
    assert_eq!(after(ms(19)), [(ms(19), "data: a\r\n\r\ndata: b\r\n\r\n".to_owned())]);
    let late = [(ms(20), "data: a\r\n\r".to_owned()), (ms(21), "\ndata: b\r\n\r\n".to_owned())];
    assert_eq!(after(ms(21)), late);

    // The end of the body and a break wait for nothing.
    let mut driven = Driven::new(&policy);
    driven.backend("data: a\r\n\r").passes(ms(1)).ends();
    assert_eq!(writes(&driven), [(ms(1), "data: a\r\n\r")]);
    let mut driven = Driven::new(&policy);
    driven.backend("data: a\r\n\r").passes(ms(1)).breaks();
    assert!(driven.writes[0].1.starts_with("data: a\r\n\revent: error\n"), "{:?}", driven.writes);
    assert_eq!(driven.writes[0].0, ms(1));

    // Where line ends are bare CRs, or the last one is an LF, none comes.
    for event in ["data: a\r\r", "data: a\r\n\n", "data: a\n\r\n", "id: 1\rdata: a\r\r"] {
        let mut driven = Driven::new(&policy);
        assert_eq!(driven.backend(event).next_wake(), None, "{event:?}");
        assert_eq!(writes(&driven), [(s(0), event)]);
    }
}

#[test]
fn a_full_batch_waits_for_no_lf() {
    // Nothing is read as long as a batch is full, and so it could not come.
    let policy = off();
    let event = "data: 123456\r\n\r\n";
    let batch = event.repeat(BATCH / event.len());
    let last = format!("{batch}data: a\r\n\r");
    let mut driven = Driven::new(&policy);
    assert_eq!(driven.backend(&last).next_wake(), None);
    assert_eq!(writes(&driven), [(s(0), &*last)]);
}

#[test]
fn events_that_keep_coming_are_written_once_in_a_window() {
    let policy = with_coalesce(ms(100));
    let mut driven = Driven::new(&policy);
    for _ in 0..8 {
        driven.backend(EVENT).passes(ms(30));
    }
    let (one, three) = (EVENT, EVENT.repeat(3));
    assert_eq!(writes(&driven), [(s(0), one), (ms(100), &*three), (ms(200), &*three)]);
    // The last one has waited for no more than a window; and after a silence of a window, none waits.
    driven.passes(s(1)).backend(EVENT);
    assert_eq!(writes(&driven)[3..], [(ms(300), one), (ms(1240), one)]);
    assert_eq!(driven.next_wake(), None);
}

#[test]
fn without_coalesce_nothing_waits() {
    let policy = off();
    let mut driven = Driven::new(&policy);
    for _ in 0..3 {
        driven.backend(EVENT).passes(ms(1));
    }
    assert_eq!(writes(&driven), [(ms(0), EVENT), (ms(1), EVENT), (ms(2), EVENT)]);
}

#[test]
fn neither_the_first_event_nor_what_ends_an_answer_waits_for_a_window() {
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
fn an_end_and_a_break_take_along_what_waits() {
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
fn a_full_batch_waits_for_no_window() {
    let policy = with_coalesce(s(600));
    let mut driven = Driven::new(&policy);
    let half = format!("data: {}\n\n", "x".repeat(BATCH / 2));
    driven.backend(EVENT).passes(s(1)).backend(&half).passes(s(1)).backend(&half);
    assert_eq!(writes(&driven)[1..], [(s(2), &*half.repeat(2))]);
}

#[test]
fn lines_wait_for_a_window_and_other_bodies_do_not() {
    let policy = with_coalesce(ms(100));
    for (format, at) in [(Format::Lines, ms(100)), (Format::Opaque, ms(1))] {
        let mut driven = Driven::beginning(&policy, of(format));
        driven.backend("{\"a\":1}\n").passes(ms(1)).backend("{\"a\":2}\n").passes(s(1));
        assert_eq!(writes(&driven), [(s(0), "{\"a\":1}\n"), (at, "{\"a\":2}\n")]);
    }
}

#[test]
fn what_waits_for_a_window_and_for_an_lf_waits_for_both() {
    let policy = with_coalesce(ms(100));
    for (read, written) in [(50, 100), (95, 115)] {
        let mut driven = Driven::new(&policy);
        driven.backend("data: a\r\n\r\n").passes(ms(read)).backend("data: b\r\n\r").passes(s(1));
        assert_eq!(writes(&driven)[1..], [(ms(written), "data: b\r\n\r")]);
    }
}

#[test]
fn events_wait_no_longer_for_an_lf_because_more_of_them_come() {
    let mut driven = Driven::new(&Policy::default());
    driven.backend(EVENT).passes(ms(11));
    for _ in 0..4 {
        driven.backend("data: x\r\n\r").passes(ms(15));
    }
    let times: Vec<_> = driven.writes.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [s(0), ms(31), ms(61)]);
}

#[test]
fn of_timers_that_are_due_at_once_the_one_goes_first_that_ends_more() {
    use Failure::{FirstEventTimeout, IdleTimeout, MaxDuration};
    let policy = Policy { first_event_timeout: Some(s(4)), idle_timeout: Some(s(4)), ..with_heartbeat(s(4)) };
    // When the exchange must end, what comes first, and what it ends with.
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

    // What waits goes out with the error event.
    let policy = Policy { idle_timeout: Some(s(4)), ..with_coalesce(s(5)) };
    let mut driven = Driven::new(&policy);
    driven.backend(EVENT).passes(s(1)).backend(EVENT).passes(s(10));
    assert_eq!((ended(&driven), driven.writes.len()), ((s(5), Some(IdleTimeout)), 2));
    assert!(driven.writes[1].1.starts_with(&format!("{EVENT}event: error\n")));

    // Events take the place of the heartbeat.
    let policy = Policy { coalesce: Some(s(4)), ..with_heartbeat(s(4)) };
    let mut driven = Driven::new(&policy);
    driven.backend(EVENT).passes(s(1)).backend(EVENT).passes(s(8));
    assert_eq!(writes(&driven), [(s(0), EVENT), (s(4), EVENT), (s(8), HEARTBEAT)]);
}

proptest! {
    /// [`Driven::passes`] holds that no wake is for nothing.
    #[test]
    fn whatever_comes_and_when_each_wake_has_a_cause_and_nothing_waits_for_too_long(
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
            prop_assert!(driven.next_wake().is_none_or(|due| due > driven.time()), "it asks for what is over");
            let last_write = driven.writes.last().map_or(s(0), |(at, _)| *at);
            if let (Some(heartbeat), Format::EventStream, false) = (heartbeat, format, is_small) {
                prop_assert!(driven.time() - last_write < heartbeat + ms(20), "silence");
            }
        }
        if driven.ended.is_none() {
            driven.passes(coalesce.unwrap_or_default().max(ms(20)));
            prop_assert_eq!(driven.session.ready(), 0, "what is whole has been written");
        }
    }
}
