//! What holds events back: by their number, by time, by compressing them, or by what they are.

use serde_json::{Value, json};

use super::flaw::Flaw;
use super::flow::{Pacing, Passed};
use super::seen::{PointSeen, StreamSeen};
use super::words::{duration, list, number};
use crate::doctor::finding_id::{FindingId, Severity};

/// Streams that every client may ask for, with what they are called in a sentence.
const STREAMS: [(&str, &str); 5] = [
    ("stream_200b", "events of 200 B"),
    ("stream_12b", "events of 12 B"),
    ("stream_16k", "events of 16 KiB"),
    ("post", "POST"),
    ("browser", "requests like a browser's"),
];

/// What keeps hops from compressing (RFC 9111, 5.2.2.6).
const NO_TRANSFORM: &str = "Cache-Control: no-transform";

/// The streams that were held back.
fn held_streams(point: &PointSeen) -> Vec<(&'static str, &'static str, &StreamSeen)> {
    let streams = STREAMS.iter().filter_map(|(id, words)| Some((*id, *words, point.stream(id)?)));
    streams.filter(|(_, _, stream)| stream.flow.is_held()).collect()
}

pub fn held(point: &PointSeen) -> Vec<Flaw> {
    let held = held_streams(point);
    let Some((_, _, first)) = held.first() else { return Vec::new() };
    let is_only_coded = held.iter().all(|(_, _, stream)| stream.content_coding.is_some());
    let words = list(held.iter().map(|(_, words, _)| *words));
    let streams: serde_json::Map<_, _> =
        held.iter().map(|(id, _, stream)| ((*id).to_owned(), json!(stream.flow))).collect();
    let mut evidence = json!({ "streams": streams });
    let tried = tried(point, is_only_coded);
    let longest = held.iter().map(|(_, _, stream)| stream.flow.delay_max).fold(0.0, f64::max);
    let (id, how) = if let (true, Some(coding)) = (is_only_coded, &first.content_coding) {
        evidence["content_coding"] = json!(coding);
        (FindingId::Compressed, format!("events are compressed ({coding}) and held back"))
    } else {
        how_held(point, &mut evidence)
    };
    if let Some((field, helps)) = tried {
        evidence["tried"] = json!({ "field": field, "helps": helps });
    }
    let helps = match tried {
        Some((field, true)) => format!("; not with `{field}` from the backend"),
        _ => String::new(),
    };
    let summary = format!("{how}, for up to {}: {words}{helps}", duration(longest));
    vec![Flaw { tried, ..Flaw::new(id, summary, evidence).of_severity(Severity::Error) }]
}

/// The field of a response with which the same stream may pass promptly, and whether it does.
fn tried(point: &PointSeen, is_coded: bool) -> Option<(&'static str, bool)> {
    let (id, field) = match is_coded {
        true => ("no_transform", NO_TRANSFORM),
        false => ("accel", "X-Accel-Buffering: no"),
    };
    Some((field, point.stream(id)?.flow.is_prompt()))
}

/// Whether bytes, time or the end of the stream release what is held.
fn how_held(point: &PointSeen, evidence: &mut Value) -> (FindingId, String) {
    let flow = |id: &str| point.stream(id).map(|stream| &stream.flow).filter(|flow| flow.is_held());
    let groups = |id: &str| match flow(id)?.passed {
        Passed::InGroups { bytes, ms, .. } => Some((bytes, ms)),
        _ => None,
    };
    // What is released by time comes as often, however much it is. Large events may fill a buffer before.
    if let (Some((_, period)), Some((_, other))) = (groups("stream_12b"), groups("stream_200b"))
        && (other / period - 1.0).abs() < 0.25
    {
        evidence["released_after_ms"] = json!(period.round());
        return (FindingId::Merged, format!("events come in groups, every {}", duration(period)));
    }
    let sizes = ["stream_200b", "stream_12b", "stream_16k"];
    let any = sizes.iter().chain(&["post", "browser"]);
    if let Some((bytes, _)) = any.clone().find_map(|id| groups(id)) {
        evidence["released_at_bytes"] = json!(bytes.round());
        return (
            FindingId::Buffered,
            format!("events are held back until about {} bytes are there", number(bytes)),
        );
    }
    let passes_large = point.stream("stream_16k").is_some_and(|stream| !stream.flow.is_held());
    if passes_large && flow("stream_200b").is_some() {
        return (
            FindingId::Buffered,
            "small events are held back to the end, and large ones pass".to_owned(),
        );
    }
    (FindingId::BufferedToEnd, "nothing comes before all is there".to_owned())
}

/// What is compressed and passes all the same.
pub fn compressed(point: &PointSeen) -> Vec<Flaw> {
    let Some(stream) = point.stream("browser").filter(|stream| !stream.flow.is_held()) else {
        return Vec::new();
    };
    let Some(coding) = &stream.content_coding else { return Vec::new() };
    let summary = format!("events are compressed ({coding}), and flushed one by one");
    let tried = point.stream("no_transform").map(|stream| (NO_TRANSFORM, stream.content_coding.is_none()));
    let found = Flaw::new(FindingId::Compressed, summary, json!({ "content_coding": coding }));
    vec![Flaw { tried, ..found.of_severity(Severity::Info) }]
}

pub fn passed_in_part(point: &PointSeen) -> Vec<Flaw> {
    let streams = || STREAMS.iter().filter_map(|(id, words)| Some((*words, &point.stream(id)?.flow)));
    let mut flaws = Vec::new();
    let torn: Vec<_> = streams().filter(|(_, flow)| flow.passed == Passed::Torn).collect();
    // What holds events back until a buffer is full ends in the middle of one.
    if !torn.is_empty() && held_streams(point).is_empty() {
        let words = list(torn.iter().map(|(words, _)| *words));
        let summary = format!("the end of an event comes only with the next one: {words}");
        flaws.push(Flaw::new(FindingId::Torn, summary, json!({ "streams": words })));
    }
    let lost = STREAMS.iter().filter_map(|(id, words)| Some((*words, point.stream(id)?)));
    let lost: Vec<_> =
        lost.filter(|(_, stream)| stream.has_ended && stream.flow.arrived < stream.flow.sent).collect();
    if let Some((_, StreamSeen { flow: Pacing { sent, arrived, .. }, .. })) = lost.first() {
        let words = list(lost.iter().map(|(words, _)| *words));
        let summary = format!("events are lost, {arrived} of {sent} arrive: {words}");
        flaws.push(Flaw::new(FindingId::Altered, summary, json!({ "sent": sent, "arrived": arrived })));
    }
    flaws
}

/// Types that are held back though event streams pass.
pub fn types(point: &PointSeen) -> Vec<Flaw> {
    if !held_streams(point).iter().all(|(id, ..)| *id == "browser") {
        return Vec::new();
    }
    let held = |id: &str| point.stream(id).filter(|stream| stream.flow.is_held());
    let types =
        [("ndjson", "application/x-ndjson", Severity::Warning), ("text_plain", "text/plain", Severity::Info)];
    let held: Vec<_> =
        types.iter().filter_map(|(id, name, severity)| Some((*name, *severity, held(id)?))).collect();
    let Some((_, severity, first)) = held.first() else { return Vec::new() };
    let names = list(held.iter().map(|(name, ..)| *name));
    let coding = first.content_coding.as_ref();
    let how = coding.map_or(String::new(), |coding| format!(" and compressed ({coding})"));
    let summary = format!("text/event-stream passes, and {names} is held back{how}");
    vec![
        Flaw::new(FindingId::TypeDependent, summary, json!({ "held": names, "content_coding": coding }))
            .of_severity(*severity),
    ]
}

pub fn late_head(point: &PointSeen) -> Option<Flaw> {
    let stream = point.stream("stream_200b").filter(|stream| stream.has_late_head())?;
    let summary = format!(
        "the head of a response comes only with its first event: {} before it, and it was sent {} before it",
        duration(stream.head_gap),
        duration(stream.head_gap_sent)
    );
    let evidence = json!({ "head_gap": stream.head_gap, "head_gap_sent": stream.head_gap_sent });
    Some(Flaw::new(FindingId::LateHeader, summary, evidence))
}

/// Heartbeats that are held back or dropped though events pass.
pub fn heartbeats(point: &PointSeen) -> Option<Flaw> {
    let small = point.heartbeats("heartbeats_30b").filter(|beats| !beats.is_prompt())?;
    let large = point.heartbeats("heartbeats_4k");
    let is_of_the_buffer =
        held_streams(point).iter().any(|(id, ..)| matches!(*id, "stream_200b" | "stream_12b"));
    let evidence = json!({ "heartbeats_30b": small, "heartbeats_4k": large });
    let summary = match (small.passed, large.map(|beats| beats.is_prompt())) {
        (Passed::NotAtAll, Some(true)) => "heartbeats of 30 B do not come, and those of 4 KiB do",
        (Passed::NotAtAll, _) => {
            "comments are dropped, so no heartbeat crosses this hop: only its limits of silence can be raised"
        }
        (Passed::Torn, _) => return None,
        _ if is_of_the_buffer => return None,
        (_, Some(true)) => "heartbeats of 30 B are held back, and those of 4 KiB pass",
        _ => "heartbeats are held back, and events pass",
    };
    Some(Flaw::new(FindingId::HeartbeatHeld, summary, evidence))
}
