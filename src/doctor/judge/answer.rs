//! What a real answer shows by itself, where no origin tells when its events were sent.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use super::arrivals::{Arrival, Millis, Read, Units, arrivals};
use super::flaw::Flaw;
use super::flow::{median, percentile};
use super::seen::FieldLines;
use super::words::duration;
use crate::doctor::finding_id::{FindingId, Severity};
use crate::outcome::{Failure, Outcome};
use crate::session::{Asked, Format, Policy, Session, Setup};

/// Events that arrive closer to each other came together: models take longer for a token.
const TOGETHER: Millis = 2.0;

/// So many events tell whether they come one by one.
const ENOUGH: usize = 10;

/// What comes in the last part of an answer that takes longer than this came at its end.
const AT_THE_END: f64 = 0.1;
const LONG: Millis = 500.0;

/// Groups that come more often than this look like a model that generates several tokens in one step.
const SLOW_GROUPS: Millis = 200.0;

/// What takes less long, in seconds, has no pace.
const SHORTEST: f64 = 0.05;

/// A response as it was seen at a point.
pub struct RealAnswer<'a> {
    pub status: u16,
    pub content_type: String,
    pub content_coding: Option<String>,
    pub path: String,
    pub head_at: Millis,
    pub body: &'a [u8],
    pub reads: &'a [Read],
    /// It ended as its framing says.
    pub is_complete: bool,
    pub ended: &'static str,
    pub ended_at: Millis,
    pub fields: FieldLines,
}

/// Its figures. Times are milliseconds since the request was sent.
#[derive(Clone, Debug, Serialize)]
pub struct AnswerSeen {
    pub status: u16,
    pub content_type: String,
    pub content_coding: Option<String>,
    pub head_at: Millis,
    pub first_event_at: Option<Millis>,
    pub first_token_at: Option<Millis>,
    pub ended_at: Millis,
    pub ended: &'static str,
    pub events: usize,
    pub comments: usize,
    pub bytes: usize,
    pub event_bytes_p50: f64,
    pub event_bytes_max: f64,
    pub gap_p50: Millis,
    pub gap_p99: Millis,
    pub gap_max: Millis,
    /// Events of one arrival (median), and from one arrival to the next.
    pub group: f64,
    pub group_ms: Millis,
    /// Events whose end came later than their beginning.
    pub torn: usize,
    pub dialect: &'static str,
    /// `complete`, `reported_error`, `truncated` or `broken`.
    pub verdict: &'static str,
    pub output_tokens: Option<u64>,
    /// After the first one; of events with content, where the backend counts none.
    pub tokens_per_second: Option<f64>,
    #[serde(skip)]
    pub fields: FieldLines,
    #[serde(skip)]
    pub is_stream: bool,
}

/// Looks at an answer.
pub fn look_at(answer: &RealAnswer<'_>) -> AnswerSeen {
    let format = Format::of_media_type(answer.content_type.as_bytes());
    let units = if format == Some(Format::Lines) { Units::Lines } else { Units::Events };
    let came = if format.is_some() { arrivals(answer.body, answer.reads, units) } else { Vec::new() };
    let events: Vec<&Arrival> = came.iter().filter(|arrival| !arrival.is_comment).collect();
    let mut sizes: Vec<_> = events.iter().map(|event| event.bytes as f64).collect();
    sizes.sort_by(f64::total_cmp);
    let mut gaps: Vec<_> = events.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    gaps.sort_by(f64::total_cmp);
    let groups = groups(&events);
    let starts: Vec<_> = groups.iter().filter_map(|group| group.first().map(|event| event.at)).collect();
    let read = read(answer, format.unwrap_or(Format::Opaque));
    let first_event_at = events.first().map(|event| event.at);
    let since_first = first_event_at.map_or(0.0, |first| (answer.ended_at - first) / 1000.0);
    let tokens = read.output_tokens.unwrap_or(events.len() as u64);
    AnswerSeen {
        status: answer.status,
        content_type: answer.content_type.clone(),
        content_coding: answer.content_coding.clone(),
        head_at: answer.head_at,
        first_event_at,
        first_token_at: read.first_token_at,
        ended_at: answer.ended_at,
        ended: answer.ended,
        events: events.len(),
        comments: came.len() - events.len(),
        bytes: answer.body.len(),
        event_bytes_p50: percentile(&sizes, 0.5),
        event_bytes_max: percentile(&sizes, 1.0),
        gap_p50: percentile(&gaps, 0.5),
        gap_p99: percentile(&gaps, 0.99),
        gap_max: percentile(&gaps, 1.0),
        group: median(groups.iter().map(|group| group.len() as f64).collect()),
        group_ms: median(starts.windows(2).map(|pair| pair[1] - pair[0]).collect()),
        torn: events.iter().filter(|event| event.at - event.first_at > TOGETHER).count(),
        dialect: read.dialect,
        verdict: read.verdict,
        output_tokens: read.output_tokens,
        tokens_per_second: (tokens > 1 && since_first > SHORTEST).then(|| (tokens - 1) as f64 / since_first),
        fields: answer.fields.clone(),
        is_stream: format.is_some(),
    }
}

fn groups<'a, 'b>(events: &'a [&'b Arrival]) -> Vec<&'a [&'b Arrival]> {
    events.chunk_by(|one, next| next.at - one.at < TOGETHER).collect()
}

/// What the session of a proxy makes of it.
struct ReadAnswer {
    dialect: &'static str,
    verdict: &'static str,
    first_token_at: Option<Millis>,
    output_tokens: Option<u64>,
}

/// Lets the core of the proxy read it, at the times at which it came.
fn read(answer: &RealAnswer<'_>, format: Format) -> ReadAnswer {
    let began = Instant::now();
    let at = |ms: Millis| began + Duration::from_secs_f64(ms.max(0.0) / 1000.0);
    let policy = Policy { detect_truncation: true, ..Policy::default() };
    let asked = Asked::of_request(&answer.path, false, None);
    let mut session = Session::new(Setup {
        policy: &policy,
        format,
        conversion: None,
        dialect: None,
        asked,
        sent: began,
        written: None,
        end: None,
        now: at(answer.head_at),
    });
    let mut start = 0;
    for read in answer.reads {
        session.handle_bytes(&answer.body[start..read.end], at(read.at));
        drain(&mut session, at(read.at));
        start = read.end;
    }
    match answer.is_complete {
        true => session.handle_end(),
        false => session.handle_fault(Failure::Closed.into()),
    }
    drain(&mut session, at(answer.ended_at));
    let verdict = match session.end().map(|end| end.outcome) {
        Some(Outcome::Completed) | None => "complete",
        Some(Outcome::ReportedError) => "reported_error",
        Some(_) if answer.is_complete => "truncated",
        Some(_) => "broken",
    };
    let first_token = session.first_token();
    ReadAnswer {
        dialect: session.dialect().name,
        verdict,
        first_token_at: first_token.map(|first| (first - began).as_secs_f64() * 1000.0),
        output_tokens: session.usage().output_tokens,
    }
}

fn drain(session: &mut Session, now: Instant) {
    while session.poll_write(now).is_some() {
        session.handle_written(now);
    }
}

/// What is wrong with an answer, as far as it shows by itself.
pub fn answer_flaws(seen: &AnswerSeen) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let mut found = |id, severity, summary: String| {
        flaws.push(Flaw::new(id, summary, json!(seen)).of_severity(severity));
    };
    if let Some((id, summary)) = held(seen) {
        found(id, Severity::Warning, summary);
    }
    if seen.verdict == "truncated" {
        let summary = "the answer stops short, and its connection ends like that of a complete one";
        found(FindingId::CutLooksComplete, Severity::Error, summary.to_owned());
    }
    let torn_share = seen.torn as f64 / seen.events.max(1) as f64;
    if seen.events >= ENOUGH && torn_share > 0.5 {
        let summary = format!("{} of {} events come in fragments", seen.torn, seen.events);
        found(FindingId::Torn, Severity::Warning, summary);
    }
    if let Some(coding) = &seen.content_coding {
        found(FindingId::Compressed, Severity::Info, format!("the answer is compressed ({coding})"));
    }
    flaws
}

/// Whether its events look held back. Who holds them, the backend or a hop, does not show.
fn held(seen: &AnswerSeen) -> Option<(FindingId, String)> {
    let first = seen.first_event_at?;
    if seen.events < ENOUGH {
        return None;
    }
    let streamed = seen.ended_at - first;
    if seen.ended_at > LONG && streamed < seen.ended_at * AT_THE_END && seen.group > 1.0 {
        let summary = format!(
            "all {} events came in the last {}, after {} of silence: somebody holds them back, or the backend does not stream",
            seen.events,
            duration(streamed),
            duration(first)
        );
        return Some((FindingId::BufferedToEnd, summary));
    }
    if seen.group >= 4.0 && seen.group_ms >= SLOW_GROUPS {
        let summary = format!(
            "events come in groups of {:.0}, every {}: somebody holds them back, or the backend sends them so",
            seen.group,
            duration(seen.group_ms)
        );
        return Some((FindingId::Buffered, summary));
    }
    None
}

/// What a look at an answer cannot tell, for those who read the findings.
pub const CANNOT_TELL: &str = "\
Without an origin of its own the doctor cannot tell when events were sent, and so not whether a constant delay is the hops' or \
the model's, nor what becomes of clients that leave. `sidestream doctor --serve` in place of the backend tells.";
