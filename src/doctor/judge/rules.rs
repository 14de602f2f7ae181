//! What is wrong at a point, by its figures alone.

use std::time::Duration;

use serde_json::{Value, json};

use super::flow::{Pacing, Passed};
use super::seen::{PointSeen, StreamSeen};
use super::silences;
use crate::doctor::finding_id::{FindingId, Severity};

/// Streams that every client may ask for, with what they are called in a sentence.
const STREAMS: [(&str, &str); 5] = [
    ("stream_200b", "events of 200 B"),
    ("stream_12b", "events of 12 B"),
    ("stream_16k", "events of 16 KiB"),
    ("post", "POST"),
    ("browser", "requests like a browser's"),
];

/// How late an origin may know that a client has left, in milliseconds.
const KNOWS_LATE: f64 = 2000.0;

/// What keeps hops from compressing (RFC 9111, 5.2.2.6).
const NO_TRANSFORM: &str = "Cache-Control: no-transform";

/// Streams that a connection of HTTP/2 is to carry at the least (RFC 9113, 6.5.2).
const HTTP2_STREAMS: usize = 100;

/// Something that is wrong at a point, whichever hop before it does it.
#[derive(Clone, Debug)]
pub struct Flaw {
    pub id: FindingId,
    pub severity: Severity,
    /// A sentence with the figures.
    pub summary: String,
    pub evidence: Value,
    /// The limit of time that was met.
    pub limit: Option<Duration>,
    /// A field of the backend's response that was tried against it, and whether it helps.
    pub tried: Option<(&'static str, bool)>,
}

impl Flaw {
    pub fn new(id: FindingId, summary: impl Into<String>, evidence: Value) -> Self {
        Self { id, severity: id.severity(), summary: summary.into(), evidence, limit: None, tried: None }
    }

    /// Less, or more, than what a flaw of its kind usually is.
    pub fn of_severity(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    /// Nothing answers, or something else than what was asked for.
    pub fn unreachable(why: &str) -> Self {
        let summary = format!("it is not reached: {why}");
        Self::new(FindingId::Unreachable, summary, json!({ "why": why }))
    }
}

/// All that is wrong at this point.
pub fn flaws(point: &PointSeen) -> Vec<Flaw> {
    if let Err(why) = &point.echo {
        return vec![Flaw::unreachable(why)];
    }
    let rules: [fn(&PointSeen) -> Vec<Flaw>; 10] = [
        held,
        compressed,
        passed_in_part,
        types,
        altered,
        fields,
        versions,
        leavings,
        endings,
        silences::limits,
    ];
    let others: [fn(&PointSeen) -> Option<Flaw>; 4] = [late_head, heartbeats, at_once, preflight];
    let mut flaws: Vec<_> = rules.iter().flat_map(|rule| rule(point)).collect();
    flaws.extend(others.iter().filter_map(|rule| rule(point)));
    flaws
}

/// The streams that were held back.
fn held_streams(point: &PointSeen) -> Vec<(&'static str, &'static str, &StreamSeen)> {
    let streams = STREAMS.iter().filter_map(|(id, words)| Some((*id, *words, point.stream(id)?)));
    streams.filter(|(_, _, stream)| stream.flow.is_held()).collect()
}

fn held(point: &PointSeen) -> Vec<Flaw> {
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
fn compressed(point: &PointSeen) -> Vec<Flaw> {
    let Some(stream) = point.stream("browser").filter(|stream| !stream.flow.is_held()) else {
        return Vec::new();
    };
    let Some(coding) = &stream.content_coding else { return Vec::new() };
    let summary = format!("events are compressed ({coding}), and flushed one by one");
    let tried = point.stream("no_transform").map(|stream| (NO_TRANSFORM, stream.content_coding.is_none()));
    let found = Flaw::new(FindingId::Compressed, summary, json!({ "content_coding": coding }));
    vec![Flaw { tried, ..found.of_severity(Severity::Info) }]
}

fn passed_in_part(point: &PointSeen) -> Vec<Flaw> {
    let streams = || STREAMS.iter().filter_map(|(id, words)| Some((*words, &point.stream(id)?.flow)));
    let mut flaws = Vec::new();
    let torn: Vec<_> = streams().filter(|(_, flow)| flow.passed == Passed::Torn).collect();
    // What holds events back until a buffer is full ends in the middle of one.
    if !torn.is_empty() && held_streams(point).is_empty() {
        let words = list(torn.iter().map(|(words, _)| *words));
        let summary = format!("the end of an event comes only with the next one: {words}");
        flaws.push(Flaw::new(FindingId::Torn, summary, json!({ "streams": words })));
    }
    let lost: Vec<_> = streams().filter(|(_, flow)| flow.passed == Passed::NotAtAll).collect();
    if let Some((words, Pacing { sent, arrived, .. })) = lost.first() {
        let summary = format!("{arrived} of {sent} events arrive whole: {words}");
        flaws.push(Flaw::new(FindingId::Altered, summary, json!({ "sent": sent, "arrived": arrived })));
    }
    flaws
}

/// Types that are held back though event streams pass.
fn types(point: &PointSeen) -> Vec<Flaw> {
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

fn altered(point: &PointSeen) -> Vec<Flaw> {
    let Some(sample) = point.sample("sample") else { return Vec::new() };
    let Some(difference) = &sample.first_difference else { return Vec::new() };
    let summary = format!(
        "bytes are altered: at byte {} `{}` was sent, and `{}` came",
        number(difference.offset as f64),
        difference.sent,
        difference.arrived
    );
    vec![Flaw::new(FindingId::Altered, summary, json!(sample))]
}

/// Fields of requests that do not reach the origin. Values may be secrets, and are never told.
fn fields(point: &PointSeen) -> Vec<Flaw> {
    let Ok(echo) = &point.echo else { return Vec::new() };
    let arrived = |name: &str, value: &str| {
        echo.fields.iter().any(|(other, there)| other.eq_ignore_ascii_case(name) && there.contains(value))
    };
    let missing: Vec<_> = echo
        .sent
        .iter()
        .filter(|(name, value)| !arrived(name, value))
        .map(|(name, _)| name.as_str())
        .collect();
    let mut flaws = Vec::new();
    if !missing.is_empty() {
        // Gateways take credentials for themselves, and some begin traces anew.
        let is_grave =
            |name: &&&str| !["authorization", "traceparent"].contains(&name.to_ascii_lowercase().as_str());
        let severity =
            if missing.iter().any(|name| is_grave(&name)) { Severity::Warning } else { Severity::Info };
        let names = list(missing.iter().copied());
        let summary = format!("{names} of a request does not reach the origin as it was sent");
        flaws.push(
            Flaw::new(FindingId::FieldStripped, summary, json!({ "request": missing })).of_severity(severity),
        );
    }
    let has = |name: &str| point.response_fields().iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    let added: Vec<_> =
        ["Content-Length", "Content-Disposition"].into_iter().filter(|name| has(name)).collect();
    if !added.is_empty() {
        let summary = format!(
            "the response of a stream has {}, which its origin did not send",
            list(added.iter().copied())
        );
        flaws.push(Flaw::new(FindingId::FieldAdded, summary, json!({ "response": added })));
    }
    flaws
}

fn versions(point: &PointSeen) -> Vec<Flaw> {
    let seen = point.stream("stream_200b").map_or("", |stream| stream.version.as_str());
    let saw = point.echo.as_ref().map_or("", |echo| echo.version.as_str());
    let evidence = json!({ "response_version": seen, "origin_saw_version": saw });
    let summary = match (seen, saw) {
        ("HTTP/1.0", _) => "responses come as HTTP/1.0, where only the close of the connection ends a stream",
        (_, "HTTP/1.0") => {
            "the origin is asked in HTTP/1.0, where only the close of the connection ends a stream"
        }
        _ => return Vec::new(),
    };
    vec![Flaw::new(FindingId::Downgraded, summary, evidence)]
}

fn late_head(point: &PointSeen) -> Option<Flaw> {
    let stream = point.stream("stream_200b").filter(|stream| stream.has_late_head())?;
    let summary = format!(
        "the head of a response comes only with its first event: {} before it, and it was sent {} before it",
        duration(stream.head_gap),
        duration(stream.head_gap_sent)
    );
    let evidence = json!({ "head_gap": stream.head_gap, "head_gap_sent": stream.head_gap_sent });
    Some(Flaw::new(FindingId::LateHeader, summary, evidence))
}

fn leavings(point: &PointSeen) -> Vec<Flaw> {
    let phases = [("leaves_stream", "in the stream"), ("leaves_prefill", "before the head of its response")];
    let late = phases.iter().filter_map(|(id, words)| {
        let left = point.leaving(id)?;
        match left.known_after {
            None => {
                Some((Severity::Error, *id, format!("not within {} {words}", duration(left.waited)), left))
            }
            Some(after) if after > KNOWS_LATE => {
                Some((Severity::Warning, *id, format!("only after {} {words}", duration(after)), left))
            }
            Some(_) => None,
        }
    });
    let late: Vec<_> = late.collect();
    let Some(severity) = late.iter().map(|(severity, ..)| *severity).max() else { return Vec::new() };
    let words = list(late.iter().map(|(_, _, words, _)| words.as_str()));
    let evidence: serde_json::Map<_, _> =
        late.iter().map(|(_, id, _, left)| ((*id).to_owned(), json!(left))).collect();
    let summary = format!("the origin does not learn that a client has left: {words}");
    vec![Flaw::new(FindingId::ClientGoneNotPropagated, summary, evidence.into()).of_severity(severity)]
}

fn endings(point: &PointSeen) -> Vec<Flaw> {
    let ends = [("ends_truncated", "closed in the middle of an event"), ("ends_reset", "reset")];
    let hidden = ends.iter().filter_map(|(id, words)| {
        point.ending(id).filter(|end| end.is_hidden()).map(|end| (*id, *words, end))
    });
    let hidden: Vec<_> = hidden.collect();
    let Some((_, _, first)) = hidden.first() else { return Vec::new() };
    let words = list(hidden.iter().map(|(_, words, _)| *words));
    let evidence: serde_json::Map<_, _> =
        hidden.iter().map(|(id, _, end)| ((*id).to_owned(), json!(end))).collect();
    let how = if first.is_complete { "ends here like a complete one" } else { "does not end here" };
    let summary = format!("a stream whose connection is {words} at the origin {how}");
    vec![Flaw::new(FindingId::CutLooksComplete, summary, evidence.into())]
}

/// Heartbeats that are held back or dropped though events pass.
fn heartbeats(point: &PointSeen) -> Option<Flaw> {
    let small = point.heartbeats("heartbeats_30b").filter(|beats| !beats.is_prompt())?;
    let large = point.heartbeats("heartbeats_4k");
    let is_of_the_buffer =
        held_streams(point).iter().any(|(id, ..)| matches!(*id, "stream_200b" | "stream_12b"));
    let evidence = json!({ "heartbeats_30b": small, "heartbeats_4k": large });
    let summary = match (small.passed, large.map(|beats| beats.is_prompt())) {
        (Passed::NotAtAll, Some(true)) => "heartbeats of 30 B do not come, and those of 4 KiB do",
        (Passed::NotAtAll, _) => "comments do not come, and so no heartbeats",
        _ if is_of_the_buffer => return None,
        (_, Some(true)) => "heartbeats of 30 B are held back, and those of 4 KiB pass",
        _ => "heartbeats are held back, and events pass",
    };
    Some(Flaw::new(FindingId::HeartbeatHeld, summary, evidence))
}

fn at_once(point: &PointSeen) -> Option<Flaw> {
    let seen = point.at_once("at_once")?;
    let enough = seen.wanted.min(HTTP2_STREAMS);
    if seen.ran >= enough {
        return None;
    }
    let summary = format!("of {} streams at once over {} {} ran", seen.wanted, seen.version, seen.ran);
    Some(Flaw::new(FindingId::StreamLimit, summary, json!(seen)))
}

fn preflight(point: &PointSeen) -> Option<Flaw> {
    let seen = point.preflight("preflight")?;
    let missing = seen.missing.as_ref()?;
    let summary = format!("a page of another site cannot ask: in the answer to its OPTIONS, {missing}");
    Some(Flaw::new(FindingId::Cors, summary, json!(seen)))
}

/// `a`, `a and b`, `a, b and c`.
fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}

/// Milliseconds as people read them.
pub fn duration(ms: f64) -> String {
    match ms {
        ..1000.0 => format!("{ms:.0} ms"),
        ..10_000.0 => format!("{:.1} s", ms / 1000.0),
        _ => format!("{:.0} s", ms / 1000.0),
    }
}

/// With thousands apart.
pub fn number(value: f64) -> String {
    let digits = format!("{value:.0}");
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}
