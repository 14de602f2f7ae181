//! Invariants of a session, for arbitrary bytes and times.

use std::time::{Duration, Instant};

use sidestream::outcome::{Cause, Failure, Fault, Outcome};
use sidestream::session::dialect::{ALL, GENERIC, OnBreak};
use sidestream::session::{Asked, Close, End, ErrorEvents, Format, Heartbeats, Policy, Session, Setup, Unit};

/// A stream and how it is run.
struct Plan<'a> {
    policy: Policy,
    format: Format,
    conversion: Option<Unit>,
    asked: Asked,
    bytes: &'a [u8],
    /// The size of each piece, and whether time passes after it.
    steps: &'a [u8],
    /// How the stream ends.
    fault: Option<Fault>,
}

impl<'a> Plan<'a> {
    fn of(input: &'a [u8]) -> Option<Self> {
        let [kind, size, errors, asked, end, steps, bytes @ ..] = input else { return None };
        let (steps, bytes) = bytes.split_at(bytes.len().min(usize::from(*steps) % 32));
        let (format, conversion) = match kind % 8 {
            0..4 => (Format::EventStream, None),
            4 => (Format::Lines, None),
            5 => (Format::Opaque, None),
            6 => (Format::EventStream, Some(Unit::Line)),
            _ => (Format::EventStream, Some(Unit::Body)),
        };
        let dialects: Vec<_> = ALL.into_iter().chain([&GENERIC]).collect();
        let policy = Policy {
            heartbeat: Some(Duration::from_secs(1)),
            heartbeats: Heartbeats::padded(if kind & 128 > 0 { 8193 } else { 0 }),
            first_event_timeout: Some(Duration::from_secs(20)),
            idle_timeout: Some(Duration::from_secs(10)),
            error_events: [
                ErrorEvents::Auto,
                ErrorEvents::OpenAi,
                ErrorEvents::Mcp,
                ErrorEvents::Generic,
                ErrorEvents::Off,
            ][usize::from(errors % 5)],
            // Often none, so that the dialect is detected.
            dialect: dialects.get(usize::from(errors / 5)).copied(),
            detect_truncation: kind & 64 == 0,
            terminal: ["[DONE]", "event:end", "member:done"]
                .get(usize::from(kind / 8 % 8))
                .and_then(|text| text.parse().ok()),
            max_event_size: if *size == 255 { 1 << 20 } else { usize::from(*size) },
            ..Policy::default()
        };
        let body = br#"{"jsonrpc":"2.0","id":1,"method":"m"}"#;
        let paths = ["/", "/v1/chat/completions", "/v1/messages", "/v1/models/m:streamGenerateContent"];
        let path = paths[usize::from(asked % 4)];
        let asked = match asked & 4 > 0 {
            true => Asked::of_listener(asked & 8 > 0),
            false => Asked::of_request(path, asked & 8 > 0, (asked & 48 == 16).then_some(body)),
        };
        let fault = match end % 4 {
            0 | 1 => None,
            2 => Some(Fault::caused(Failure::Reset, Cause::Os(104))),
            _ => Some(Failure::Closed.into()),
        };
        Some(Self { policy, format, conversion, asked, bytes, steps, fault })
    }

    /// Whether the bytes pass without conversion, so that the output can be predicted.
    fn is_plain(&self) -> bool {
        self.conversion.is_none()
    }
}

/// The result of a stream.
#[derive(Debug, PartialEq)]
struct Result {
    payload: Vec<u8>,
    end: End,
    known: String,
}

/// Runs a stream in pieces and as a whole. The results must be equal.
pub fn session(input: &[u8]) {
    let Some(plan) = Plan::of(input) else { return };
    let cut = run(&plan, plan.steps);
    let whole = run(&plan, &[]);
    let is_late = |result: &Result| {
        let failure = result.end.outcome.fault().map(|fault| fault.failure);
        matches!(failure, Some(Failure::IdleTimeout | Failure::FirstEventTimeout | Failure::MaxDuration))
    };
    // A large event that passed in parts may reveal less than one that arrived as a whole.
    if !is_late(&cut) && plan.policy.max_event_size >= plan.bytes.len() {
        assert_eq!(cut, whole, "the result depends on the splits");
    }
}

fn run(plan: &Plan, steps: &[u8]) -> Result {
    let mut now = Instant::now();
    let start = now;
    let mut session = Session::new(Setup {
        policy: &plan.policy,
        format: plan.format,
        conversion: plan.conversion,
        dialect: None,
        asked: plan.asked.clone(),
        sent: now,
        written: None,
        end: Some(now + Duration::from_secs(3600)),
        now,
    });
    let (mut payload, mut fed, mut steps) = (Vec::new(), 0, steps.iter().cycle());
    while fed < plan.bytes.len() && session.end().is_none() {
        let step = steps.next().copied();
        let size =
            step.map_or(plan.bytes.len(), |step| 1 + usize::from(step % 24)).min(plan.bytes.len() - fed);
        session.handle_bytes(&plan.bytes[fed..fed + size], now);
        fed += size;
        write(plan, &mut session, &mut payload, now);
        if plan.is_plain() {
            check_written(plan, &plan.bytes[..fed], &payload);
        }
        if step.is_some_and(|step| step > 127) {
            now = pass(
                plan,
                &mut session,
                &mut payload,
                now,
                Duration::from_millis(u64::from(step.unwrap_or(0)) * 20),
            );
        }
    }
    if session.end().is_none() {
        match plan.fault {
            None => session.handle_end(),
            Some(fault) => session.handle_fault(fault),
        }
    }
    let before = payload.clone();
    write(plan, &mut session, &mut payload, now);
    let end = session.end().expect("an end");
    check_end(plan, &session, &plan.bytes[..fed], &before, &payload, end);
    let token = session.first_token().map(|at| at >= start);
    let known = format!("{:?} {:?} {token:?} {}", session.dialect(), session.usage(), session.events());
    Result { payload, end, known }
}

/// Takes the output, and collects the part that came from the backend.
fn write(plan: &Plan, session: &mut Session, payload: &mut Vec<u8>, now: Instant) {
    while let Some(bytes) = session.poll_write(now).map(<[u8]>::to_vec) {
        let delivered = session.handle_written(now);
        if delivered.is_heartbeat {
            assert_eq!(plan.format, Format::EventStream, "a heartbeat in a format without comments");
            assert!(
                !plan.is_plain() || is_between_events(plan.format, payload),
                "a heartbeat inside an event"
            );
        }
        payload.extend_from_slice(&bytes[..usize::try_from(delivered.bytes).expect("a size")]);
    }
}

/// Lets time pass, and calls the session when it asks for it.
fn pass(plan: &Plan, session: &mut Session, payload: &mut Vec<u8>, now: Instant, time: Duration) -> Instant {
    let until = now + time;
    while let Some(due) = session.poll_timeout().filter(|due| *due <= until && session.end().is_none()) {
        session.handle_timeout(due);
        write(plan, session, payload, due);
        let next = session.poll_timeout();
        assert!(session.end().is_some() || next.is_none_or(|next| next > due), "a wake-up without effect");
    }
    until
}

/// Checks that exactly the permitted bytes were written: whole events, and everything of an event that is too
/// large.
fn check_written(plan: &Plan, fed: &[u8], payload: &[u8]) {
    let boundary = last_boundary(plan.format, fed);
    let may_be_written = if fed.len() - boundary > plan.policy.max_event_size { fed.len() } else { boundary };
    assert!(fed.starts_with(payload), "bytes were lost or altered");
    // The LF of a final CRLF may still arrive.
    let awaits_lf = fed.ends_with(b"\r") && boundary == fed.len();
    assert!(
        payload.len() == may_be_written || awaits_lf && payload.len() < boundary,
        "{} of {may_be_written}",
        payload.len()
    );
}

fn check_end(plan: &Plan, session: &Session, fed: &[u8], before: &[u8], payload: &[u8], end: End) {
    let (is_generic, has_terminal) = (session.dialect() == &GENERIC, plan.policy.terminal.is_some());
    match end.outcome {
        Outcome::Failed(fault) => {
            assert!(end.close == Close::Break || end.has_error_event, "a failure that looks complete");
            assert!(
                !is_generic || plan.policy.error_events != ErrorEvents::Auto || end.close == Close::Break
            );
            let is_own = matches!(
                fault.failure,
                Failure::Truncated | Failure::IdleTimeout | Failure::FirstEventTimeout | Failure::MaxDuration
            );
            assert!(plan.fault == Some(fault) || is_own, "{fault:?} has no cause");
            let is_truncated = fault.failure == Failure::Truncated;
            assert!(!is_truncated || plan.policy.detect_truncation && plan.format != Format::Opaque);
            let is_healthy =
                plan.is_plain() && is_generic && !has_terminal && is_between_events(plan.format, fed);
            assert!(!is_truncated || !is_healthy, "a healthy stream was reported as truncated");
            if plan.is_plain() {
                // A last event that lacked only its line ends may have been completed.
                let added = payload.strip_prefix(fed).filter(|_| is_truncated);
                let is_completed =
                    added.is_some_and(|added| added.iter().all(|b| matches!(b, b'\n' | b'\r')));
                assert!(fed.starts_with(payload) || is_completed, "bytes were lost or altered");
                assert!(
                    !end.has_error_event || is_between_events(plan.format, payload),
                    "an error event inside an event"
                );
            }
        }
        Outcome::Completed | Outcome::ReportedError => {
            // If some clients ignore the backend's own error event, a break after it is passed on.
            let may_break = plan.fault.is_some() && matches!(session.dialect().on_break, OnBreak::Own { .. });
            assert!(end.close == Close::Clean || end.outcome == Outcome::ReportedError && may_break);
            assert!(!end.has_error_event, "an error event after a complete answer");
            assert!(
                plan.fault.is_none() || !is_generic || has_terminal,
                "a broken stream of an unknown dialect that looks complete"
            );
            if plan.is_plain() && plan.fault.is_none() {
                let added = payload.strip_prefix(fed).expect("bytes were lost or altered");
                assert!(
                    added.len() <= 2 && added.iter().all(|b| matches!(b, b'\n' | b'\r')),
                    "{added:?} was added"
                );
            } else if !plan.is_plain() {
                check_converted(fed, payload);
            }
        }
        other => panic!("{other:?}"),
    }
    assert!(payload.starts_with(before));
}

/// Converted texts have lost only their line ends.
fn check_converted(texts: &[u8], events: &[u8]) {
    let lines = events.split(|&b| b == b'\n').filter(|line| !line.is_empty());
    let data: Vec<u8> =
        lines.flat_map(|line| line.strip_prefix(b"data: ").unwrap_or(b"no data")).copied().collect();
    let texts: Vec<u8> = texts.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    assert!(texts.starts_with(&data), "bytes were lost or altered");
}

fn is_between_events(format: Format, bytes: &[u8]) -> bool {
    last_boundary(format, bytes) == bytes.len()
}

/// The length of the prefix that ends at an event boundary, or after a comment between events. A naive
/// reference implementation.
fn last_boundary(format: Format, bytes: &[u8]) -> usize {
    let (mut boundary, mut at, mut has_fields) = (0, 0, false);
    match format {
        Format::Opaque => return bytes.len(),
        Format::Lines => return bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1),
        Format::EventStream => {}
    }
    while let Some(length) = bytes[at..].iter().position(|b| matches!(b, b'\n' | b'\r')) {
        let line = &bytes[at..at + length];
        let line = if at == 0 { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line) } else { line };
        at += length + if bytes[at + length..].starts_with(b"\r\n") { 2 } else { 1 };
        match line.first() {
            None => has_fields = false,
            Some(b':') if !has_fields => {}
            Some(_) => has_fields = true,
        }
        if !has_fields {
            boundary = at;
        }
    }
    boundary
}
