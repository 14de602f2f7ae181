//! Real answers that are made up, and what they are worth.

use super::{AnswerSeen, AnswerVerdict, Read, RealAnswer, WatchEnd, look_at};

const EVENT: &str =
    "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn looked_at(status: u16, content_type: &str, body: &str, end: WatchEnd) -> AnswerSeen {
    look_at(&RealAnswer {
        status,
        content_type: content_type.to_owned(),
        content_coding: None,
        path: "/v1/chat/completions".to_owned(),
        head_at: 1.0,
        body: body.as_bytes(),
        reads: &[Read { at: 2.0, end: body.len() }],
        end,
        ended: "complete",
        ended_at: 3.0,
        fields: Vec::new(),
        asked_for_stream: true,
    })
}

#[test]
fn a_stream_is_worth_what_its_end_and_its_events_say() {
    let whole = [EVENT, DONE].concat();
    for (body, end, verdict) in [
        (&*whole, WatchEnd::Whole, AnswerVerdict::Complete),
        // What breaks after the end of the answer has lost nothing.
        (&whole, WatchEnd::Broken, AnswerVerdict::Complete),
        (EVENT, WatchEnd::Whole, AnswerVerdict::Truncated),
        (EVENT, WatchEnd::Broken, AnswerVerdict::Broken),
        (EVENT, WatchEnd::Running, AnswerVerdict::StillRunning),
        (EVENT, WatchEnd::TooLarge, AnswerVerdict::TooLarge),
        ("data: {\"error\":{\"message\":\"m\"}}\n\n", WatchEnd::Whole, AnswerVerdict::ReportedError),
        ("", WatchEnd::Whole, AnswerVerdict::NoEvents),
        (": beat\n\n: beat\r\n\r\n", WatchEnd::Whole, AnswerVerdict::NoEvents),
        (": beat\n\ndata: {\"cho", WatchEnd::Whole, AnswerVerdict::Truncated),
        ("", WatchEnd::Broken, AnswerVerdict::Broken),
        ("", WatchEnd::Running, AnswerVerdict::StillRunning),
    ] {
        let seen = looked_at(200, "text/event-stream", body, end);
        assert_eq!(seen.verdict, verdict, "{body:?} {end:?}");
        assert_eq!(seen.body_begins, None);
    }
}

#[test]
fn a_status_and_a_type_come_before_what_a_body_says() {
    for end in [WatchEnd::Whole, WatchEnd::Broken, WatchEnd::Running] {
        assert_eq!(looked_at(500, "text/event-stream", EVENT, end).verdict, AnswerVerdict::Refused);
        assert_eq!(looked_at(200, "text/plain", EVENT, end).verdict, AnswerVerdict::NotAStream);
    }
}

#[test]
fn of_what_is_no_stream_the_first_line_is_told_cut_and_without_control_characters() {
    let begins = |body: &str| looked_at(200, "text/plain", body, WatchEnd::Whole).body_begins;
    assert_eq!(begins(" \r\n\n  one\ttwo\x1b[2J\nthree"), Some("onetwo[2J".to_owned()));
    assert_eq!(begins(&"é".repeat(1000)), Some("é".repeat(120) + "…"));
    assert_eq!(begins(" \n"), None);
}
