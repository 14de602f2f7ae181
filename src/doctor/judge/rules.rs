//! The faults that the figures of one point show.

use serde_json::json;

use super::delays::{compressed, heartbeats, held, late_head, passed_in_part, types};
use super::flaw::Flaw;
use super::seen::PointSeen;
use super::silences;
use super::words::{duration, list, number};
use crate::doctor::finding_id::{FindingId, Severity};
use crate::session::{MEDIA_TYPE, is_media_type};

/// Within this time the origin should know that a client has left, in milliseconds.
const KNOWS_LATE: f64 = 2000.0;

/// All faults at this point.
pub fn flaws(point: &PointSeen) -> Vec<Flaw> {
    if let Err(why) = &point.echo {
        return vec![Flaw::unreachable(&format!("it is not reached: {why}"), why)];
    }
    let rules: [fn(&PointSeen) -> Vec<Flaw>; 12] = [
        not_made,
        response_fields,
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

/// Tests that could not be made although the origin is reached: a hop answers in its place, or nothing answers. Tests that a limit of
/// streams refused are part of that finding.
fn not_made(point: &PointSeen) -> Vec<Flaw> {
    let failed = point.tests.iter().filter_map(|(id, shown)| Some((*id, shown.as_ref().err()?)));
    let failed: Vec<_> = failed.filter(|(_, failure)| !point.is_by_stream_limit(failure)).collect();
    let Some((_, first)) = failed.first() else { return Vec::new() };
    let ids = list(failed.iter().map(|(id, _)| *id));
    vec![Flaw::unreachable(&format!("not all tests could be made ({ids}): {first}"), &first.why)]
}

/// The response fields by which clients recognise a stream, and which forbid caching.
fn response_fields(point: &PointSeen) -> Vec<Flaw> {
    let Some(stream) = point.stream("stream_200b") else { return Vec::new() };
    let value = |name: &str| {
        let found = stream.fields.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value.as_str())
    };
    let changed = |name: &str, severity| {
        let summary = format!("{name} of a stream is `{}` here, which its origin did not send", value(name));
        let evidence = json!({ "response": [name], "value": value(name) });
        Flaw::new(FindingId::FieldStripped, summary, evidence).of_severity(severity)
    };
    if !is_media_type(value("Content-Type").as_bytes(), MEDIA_TYPE) {
        return vec![changed("Content-Type", Severity::Error)];
    }
    let is_kept_out = ["no-cache", "no-store"].iter().any(|word| value("Cache-Control").contains(word));
    if is_kept_out { Vec::new() } else { vec![changed("Cache-Control", Severity::Warning)] }
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

/// Request fields that do not reach the origin. Values may be secrets, so reports have only names.
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
        // Gateways often consume credentials, and some start a new trace.
        let is_grave =
            |name: &&&str| !["authorization", "traceparent"].contains(&name.to_ascii_lowercase().as_str());
        let severity =
            if missing.iter().any(|name| is_grave(&name)) { Severity::Warning } else { Severity::Info };
        let names = list(missing.iter().copied());
        let verb = if missing.len() > 1 { "do" } else { "does" };
        let summary = format!("{names} of a request {verb} not reach the origin as it was sent");
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

fn at_once(point: &PointSeen) -> Option<Flaw> {
    let seen = point.at_once("at_once").filter(|seen| !seen.is_enough())?;
    let summary = match (seen.is_limited_by_settings(), seen.refused) {
        (true, _) => format!(
            "an HTTP/2 connection allows {} streams at once, by its SETTINGS; servers should allow at least 100",
            seen.opened
        ),
        (false, Some(status)) => format!(
            "of {} streams at once over {}, {} ran, and another was answered {status}",
            seen.wanted, seen.version, seen.ran
        ),
        (false, None) => {
            format!("of {} streams at once over {}, {} ran", seen.wanted, seen.version, seen.ran)
        }
    };
    Some(Flaw::new(FindingId::StreamLimit, summary, json!(seen)))
}

fn preflight(point: &PointSeen) -> Option<Flaw> {
    let seen = point.preflight("preflight")?;
    let missing = seen.missing.as_ref()?;
    let summary = format!("a page of another site cannot ask: in the answer to its OPTIONS, {missing}");
    Some(Flaw::new(FindingId::Cors, summary, json!(seen)))
}
