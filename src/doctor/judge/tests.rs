//! Figures that are made up, and what they mean.

#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use super::seen::{
    AtOnceSeen, Echo, EndingSeen, Figures, LeavingSeen, NotMade, PointSeen, SilencesSeen, StreamSeen,
};
use super::{Arrival, Finding, Millis, findings, flow};

const EVERY: Millis = 50.0;

/// A stream of 40 events of this size; `at`: when the event of this number, which was sent then, arrives.
fn stream(size: usize, at: impl Fn(usize, Millis) -> Millis) -> StreamSeen {
    let sent: Vec<Millis> = (0..40).map(|n| EVERY * f64::from(n)).collect();
    let arrival = |(n, sent): (usize, &Millis)| {
        let at = at(n, *sent);
        Arrival { number: Some(n), is_comment: false, bytes: size, first_at: at, at, pause: 0.0 }
    };
    let arrivals: Vec<_> = sent.iter().enumerate().map(arrival).collect();
    StreamSeen {
        flow: flow(&sent, &arrivals),
        version: "HTTP/1.1".to_owned(),
        fields: [
            ("Server", "nginx/1.22.1"),
            ("Content-Type", "text/event-stream"),
            ("Cache-Control", "no-cache"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        content_coding: None,
        is_last: false,
        has_ended: true,
        head_gap_sent: 300.0,
        head_gap: 300.0,
    }
}

fn prompt(size: usize) -> StreamSeen {
    stream(size, |_, sent| sent)
}

/// Released in groups of so many.
fn grouped(size: usize, events: usize) -> StreamSeen {
    stream(size, |n, _| EVERY * ((n / events + 1) * events - 1).min(39) as f64)
}

fn at_the_end(size: usize) -> StreamSeen {
    stream(size, |_, _| EVERY * 39.0)
}

/// A point at which these tests were made.
fn point(name: &str, tests: Vec<(&'static str, Figures)>) -> PointSeen {
    let echo = Echo { version: "HTTP/1.1".to_owned(), ..Echo::default() };
    let tests: BTreeMap<_, _> = tests.into_iter().map(|(id, figures)| (id, Ok(figures))).collect();
    PointSeen { name: name.to_owned(), url: String::new(), echo: Ok(echo), tests }
}

fn with_sizes(name: &str, small: StreamSeen, middle: StreamSeen, large: StreamSeen) -> PointSeen {
    let sizes = [("stream_12b", small), ("stream_200b", middle), ("stream_16k", large)];
    point(name, sizes.map(|(id, stream)| (id, Figures::Stream(stream))).into())
}

fn ids(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.id.as_str()).collect()
}

fn found_with_sizes(small: StreamSeen, middle: StreamSeen, large: StreamSeen) -> Vec<Finding> {
    findings(&[with_sizes("edge", small, middle, large)])
}

#[test]
fn bytes_time_and_the_end_are_told_apart_by_streams_of_several_sizes() {
    // 4 KiB: all of 40 events of 12 B, 20 events of 200 B, less than one of 16 KiB.
    let by_bytes = found_with_sizes(at_the_end(12), grouped(200, 20), prompt(16_384));
    assert_eq!(ids(&by_bytes), ["buffered"]);
    assert_eq!(by_bytes[0].evidence["released_at_bytes"], 4000.0);
    // Every 250 ms, whatever there is; a buffer of 48 KiB is full before.
    let by_time = found_with_sizes(grouped(12, 5), grouped(200, 5), grouped(16_384, 3));
    assert_eq!(ids(&by_time), ["merged"]);
    assert_eq!(by_time[0].evidence["released_after_ms"], 250.0);
    let by_the_end = found_with_sizes(at_the_end(12), at_the_end(200), at_the_end(16_384));
    assert_eq!(ids(&by_the_end), ["buffered_to_end"]);
    // 64 KiB hold all of the small ones.
    let large = found_with_sizes(at_the_end(12), at_the_end(200), grouped(16_384, 4));
    assert_eq!(ids(&large), ["buffered"]);
    assert_eq!(large[0].evidence["released_at_bytes"], 65_536.0);
    assert!(found_with_sizes(prompt(12), prompt(200), prompt(16_384)).is_empty());
}

#[test]
fn the_innermost_of_several_points_that_show_a_flaw_is_named() {
    let clean = || with_sizes("app", prompt(12), prompt(200), prompt(16_384));
    let held = |name| with_sizes(name, at_the_end(12), grouped(200, 20), prompt(16_384));
    let more = with_sizes("cdn", at_the_end(12), at_the_end(200), at_the_end(16_384));
    let found = findings(&[clean(), held("ingress"), more]);
    assert_eq!(ids(&found), ["buffered"]);
    assert_eq!(found[0].between, ["app", "ingress"]);
    let unreached = PointSeen { echo: Err("no answer".to_owned()), ..clean() };
    let found = findings(&[unreached, held("ingress")]);
    assert_eq!(ids(&found), ["buffered", "unreachable"]);
    assert_eq!(found[0].between, ["origin", "ingress"]);
}

#[test]
fn a_field_that_was_tried_and_has_not_helped_is_not_advised() {
    let advises = |accel: StreamSeen| {
        let streams = [("stream_200b", grouped(200, 20)), ("accel", accel)];
        let found = findings(&[point("edge", streams.map(|(id, s)| (id, Figures::Stream(s))).into())]);
        let mut writes = found[0].remedy.iter().filter_map(|remedy| remedy.write.as_deref());
        writes.any(|write| write.starts_with("X-Accel-Buffering"))
    };
    assert!(advises(prompt(200)));
    assert!(!advises(grouped(200, 20)));
}

#[test]
fn what_is_compressed_is_an_error_only_where_it_is_held_back() {
    let coded = |stream: StreamSeen| StreamSeen { content_coding: Some("gzip".to_owned()), ..stream };
    let severity = |browser: StreamSeen| {
        let streams = [("stream_200b", prompt(200)), ("browser", coded(browser))];
        let found = findings(&[point("edge", streams.map(|(id, s)| (id, Figures::Stream(s))).into())]);
        assert_eq!(ids(&found), ["compressed"]);
        found[0].severity.as_str()
    };
    assert_eq!(severity(prompt(200)), "info");
    assert_eq!(severity(at_the_end(200)), "error");
}

#[test]
fn limits_of_time_are_told_apart_by_three_streams() {
    let limits = |head_cut, stream_cut, heartbeats_cut| {
        let silences =
            SilencesSeen { watched: 60e3, head_cut, stream_cut, heartbeats_cut, beats: 4, head_status: None };
        let found = findings(&[point("edge", vec![("idle", Figures::Silences(silences))])]);
        found
            .iter()
            .map(|finding| (finding.id.as_str(), finding.evidence["cut_after_ms"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(limits(None, None, None), []);
    let cut = |id, ms: f64| (id, serde_json::json!(ms));
    assert_eq!(limits(Some(5e3), Some(5e3), None), [cut("header_limit", 5e3), cut("idle_limit", 5e3)]);
    assert_eq!(limits(None, Some(30e3), None), [cut("idle_limit", 30e3)]);
    // One limit for all, after which a connection is closed a second later.
    assert_eq!(limits(Some(15e3), Some(16e3), Some(16e3)), [cut("absolute_limit", 15e3)]);
    assert_eq!(limits(None, Some(5e3), Some(30e3)), [cut("idle_limit", 5e3), cut("absolute_limit", 30e3)]);
}

#[test]
fn an_end_that_no_client_can_tell_from_a_whole_answer_is_an_error() {
    let found = |ended, is_complete, has_ended, has_error_event| {
        let end = EndingSeen { ended, is_complete, has_ended, has_error_event };
        ids(&findings(&[point("edge", vec![("ends_truncated", Figures::Ending(end))])])).len()
    };
    assert_eq!(found("complete", true, true, false), 1);
    assert_eq!(found("complete", true, true, true), 0, "an error event tells of it");
    assert_eq!(found("still_running", false, false, false), 1, "it hangs for ever");
    assert_eq!(found("closed", false, true, false), 0);
}

#[test]
fn a_client_that_left_is_to_be_known_of_soon() {
    let severity = |known_after| {
        let left = LeavingSeen { known_after, waited: 3000.0 };
        let found = findings(&[point("edge", vec![("leaves_stream", Figures::Leaving(left))])]);
        found.first().map(|finding| finding.severity.as_str())
    };
    assert_eq!(severity(Some(3.0)), None);
    assert_eq!(severity(Some(2500.0)), Some("warning"));
    assert_eq!(severity(None), Some("error"));
}

#[test]
fn a_field_that_does_not_arrive_is_named_without_its_value() {
    let sent = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut edge = point("edge", Vec::new());
    edge.echo = Ok(Echo {
        version: "HTTP/1.1".to_owned(),
        fields: vec![sent("accept", "text/event-stream")],
        sent: vec![
            sent("Accept", "text/event-stream"),
            sent("Authorization", "Bearer secret"),
            sent("Last-Event-ID", "41"),
        ],
    });
    let found = findings(&[edge]);
    assert_eq!(ids(&found), ["field_stripped"]);
    assert!(found[0].summary.starts_with("Authorization and Last-Event-ID"), "{}", found[0].summary);
    assert!(!serde_json::to_string(&found).expect("JSON").contains("secret"));
}

#[test]
fn events_that_are_lost_are_an_error_and_a_stream_that_is_too_slow_is_not() {
    let some = |has_ended| {
        let mut stream = StreamSeen { has_ended, ..prompt(200) };
        stream.flow.arrived = 37;
        ids(&findings(&[point("edge", vec![("stream_200b", Figures::Stream(stream))])]))
    };
    assert_eq!(some(true), ["altered"]);
    assert!(some(false).is_empty());
}

#[test]
fn a_test_that_cannot_be_made_is_a_finding() {
    let mut edge = with_sizes("edge", prompt(12), prompt(200), prompt(16_384));
    edge.tests.insert("post", Err("status 405".into()));
    let found = findings(&[edge]);
    assert_eq!(ids(&found), ["unreachable"]);
    assert!(
        found[0].summary.contains("post") && found[0].summary.contains("status 405"),
        "{}",
        found[0].summary
    );
}

#[test]
fn fewer_streams_at_once_than_usual_are_a_finding() {
    let found = |version, wanted, opened, ran, refused| {
        let seen = AtOnceSeen { version, wanted, opened, ran, refused };
        let found = findings(&[point("edge", vec![("at_once", Figures::AtOnce(seen))])]);
        found.first().map(|finding| finding.summary.clone())
    };
    assert_eq!(found("HTTP/1.1", 7, 7, 7, None), None);
    let refused = "of 7 streams at once over HTTP/1.1, 3 ran, and another was answered 503";
    assert_eq!(found("HTTP/1.1", 7, 7, 3, Some(503)).as_deref(), Some(refused));
    assert_eq!(
        found("HTTP/1.1", 7, 3, 3, None).as_deref(),
        Some("of 7 streams at once over HTTP/1.1, 3 ran")
    );
    assert_eq!(found("HTTP/2", 101, 100, 100, None), None, "a limit of 100 for a connection is usual");
    assert_eq!(found("HTTP/2", 101, 101, 100, Some(503)), None);
    let limit = found("HTTP/2", 101, 32, 32, None).expect("a finding");
    assert!(limit.starts_with("an HTTP/2 connection allows 32 streams at once, by its SETTINGS"), "{limit}");
    let held = found("HTTP/2", 101, 100, 40, None);
    assert_eq!(held.as_deref(), Some("of 101 streams at once over HTTP/2, 40 ran"));
}

#[test]
fn a_limit_of_streams_accounts_for_the_tests_that_it_refused() {
    let seen = AtOnceSeen { version: "HTTP/1.1", wanted: 7, opened: 7, ran: 3, refused: Some(503) };
    let mut edge = point("edge", vec![("at_once", Figures::AtOnce(seen))]);
    let failure = |status| Err(NotMade { why: format!("status {status}"), status: Some(status) });
    edge.tests.insert("accel", failure(503));
    assert_eq!(ids(&findings(&[edge.clone()])), ["stream_limit"]);
    edge.tests.insert("post", failure(405));
    let found = findings(&[edge]);
    assert_eq!(ids(&found), ["unreachable", "stream_limit"]);
    assert_eq!(found[0].summary, "not all tests could be made (post): status 405");
}

#[test]
fn a_response_that_is_not_called_an_event_stream_any_more_is_an_error() {
    let mut stream = prompt(200);
    stream.fields[1].1 = "application/octet-stream".to_owned();
    let found = findings(&[point("edge", vec![("stream_200b", Figures::Stream(stream))])]);
    assert_eq!(ids(&found), ["field_stripped"]);
    assert_eq!(found[0].severity.as_str(), "error");
}
