//! What a real answer shows by itself, where no origin tells when its events were sent.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use super::arrivals::{Arrival, Millis, Read, Units, arrivals};
use super::flaw::Flaw;
use super::flow::{median, percentile};
use super::seen::FieldLines;
use super::verdict::{AnswerVerdict, WatchEnd};
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

/// Larger events come in pieces through every socket, in bytes.
const IN_ONE_PIECE: usize = 64 * 1024;

/// Characters that are told of what is no stream.
const LINE: usize = 120;

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
    pub end: WatchEnd,
    /// The same as the output names it.
    pub ended: &'static str,
    pub ended_at: Millis,
    pub fields: FieldLines,
    /// The request says `"stream": true`.
    pub asked_for_stream: bool,
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
    /// Events of up to 64 KiB whose end came later than their beginning.
    pub torn: usize,
    pub dialect: &'static str,
    pub verdict: AnswerVerdict,
    pub asked_for_stream: bool,
    /// The first line of what is no stream.
    pub body_begins: Option<String>,
    pub output_tokens: Option<u64>,
    /// After the first one; of events with content, where the backend counts none.
    pub tokens_per_second: Option<f64>,
    #[serde(skip)]
    pub fields: FieldLines,
    #[serde(skip)]
    pub is_stream: bool,
}

impl AnswerSeen {
    /// The status, and what the answer says of it.
    pub fn refusal(&self) -> String {
        let is = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("location");
        let location = self.fields.iter().find(is).map(|(_, location)| format!("it is at {location}"));
        let said =
            location.filter(|_| (300..400).contains(&self.status)).or_else(|| self.body_begins.clone());
        match said {
            Some(said) => format!("status {}: {said}", self.status),
            None => format!("status {}", self.status),
        }
    }
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
    let has_content = has_content(answer.body, units);
    let verdict =
        AnswerVerdict::of(answer.status, answer.end, format.is_some(), has_content, read.outcome.as_ref());
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
        torn: events.iter().filter(|event| is_torn(event)).count(),
        dialect: read.dialect,
        verdict,
        asked_for_stream: answer.asked_for_stream,
        body_begins: if matches!(verdict, AnswerVerdict::Refused | AnswerVerdict::NotAStream) {
            first_line(answer.body)
        } else {
            None
        },
        output_tokens: read.output_tokens,
        tokens_per_second: (tokens > 1 && since_first > SHORTEST).then(|| (tokens - 1) as f64 / since_first),
        fields: answer.fields.clone(),
        is_stream: format.is_some(),
    }
}

fn is_torn(event: &Arrival) -> bool {
    event.bytes <= IN_ONE_PIECE && event.at - event.first_at > TOGETHER
}

/// Whether there is something other than comments, whole or not.
fn has_content(body: &[u8], units: Units) -> bool {
    let is_comment = |line: &[u8]| units == Units::Events && line.starts_with(b":");
    body.split(|byte| matches!(byte, b'\n' | b'\r')).any(|line| !line.is_empty() && !is_comment(line))
}

/// The first line that is not blank, cut, and without what would move the cursor of a terminal.
fn first_line(body: &[u8]) -> Option<String> {
    let mut lines = body.split(|byte| matches!(byte, b'\n' | b'\r'));
    let line = lines.find(|line| !line.trim_ascii().is_empty())?.trim_ascii();
    let text = String::from_utf8_lossy(&line[..line.len().min(LINE * 4)]);
    let mut letters = text.chars().filter(|letter| !letter.is_control());
    let begin: String = letters.by_ref().take(LINE).collect();
    let is_cut = letters.next().is_some();
    Some(if is_cut { begin + "…" } else { begin })
}

fn groups<'a, 'b>(events: &'a [&'b Arrival]) -> Vec<&'a [&'b Arrival]> {
    events.chunk_by(|one, next| next.at - one.at < TOGETHER).collect()
}

/// What the session of a proxy makes of it.
struct ReadAnswer {
    dialect: &'static str,
    outcome: Option<Outcome>,
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
    match answer.end {
        WatchEnd::Whole => session.handle_end(),
        WatchEnd::Broken => session.handle_fault(Failure::Closed.into()),
        WatchEnd::Running | WatchEnd::TooLarge => {}
    }
    drain(&mut session, at(answer.ended_at));
    let first_token = session.first_token();
    ReadAnswer {
        dialect: session.dialect().name,
        outcome: session.end().map(|end| end.outcome),
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
    if seen.verdict == AnswerVerdict::Refused {
        let summary = format!("the request is refused: {}", seen.refusal());
        return vec![Flaw::new(FindingId::Unreachable, summary, json!(seen))];
    }
    let mut found = |id, severity, summary: String| {
        flaws.push(Flaw::new(id, summary, json!(seen)).of_severity(severity));
    };
    if let Some((id, summary)) = held(seen) {
        found(id, Severity::Warning, summary);
    }
    if seen.verdict == AnswerVerdict::Truncated {
        let summary = "the answer stops short, and its connection ends like that of a complete one: a hop cut it, or the \
                       backend itself stopped";
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
