//! Which limits of time cut a stream.

use std::time::Duration;

use serde_json::json;

use super::arrivals::Millis;
use super::flaw::Flaw;
use super::seen::PointSeen;
use super::words::duration;
use crate::doctor::finding_id::FindingId;

/// Cuts that are as far apart as this are of one limit.
const SAME: f64 = 0.05;
const SAME_MS: Millis = 1100.0;

/// The limits that silent streams, and one with heartbeats, have met.
pub fn limits(point: &PointSeen) -> Vec<Flaw> {
    let Some(seen) = point.silences("idle") else { return Vec::new() };
    let mut flaws = Vec::new();
    let mut found = |id, cut: Millis, summary: String| {
        let evidence = json!({ "cut_after_ms": cut.round(), "silences": seen });
        let limit = Duration::try_from_secs_f64(cut / 1000.0).ok();
        flaws.push(Flaw { limit, ..Flaw::new(id, summary, evidence) });
    };
    let is_same = |cut: Millis, all: Millis| (cut - all).abs() < SAME_MS.max(all * SAME);
    if let Some(all) = seen.heartbeats_cut {
        // Some hops close a connection a second after its limit, and answer at once where nothing is answered yet.
        let limit = seen.head_cut.filter(|cut| is_same(*cut, all)).map_or(all, |cut| cut.min(all));
        let summary = format!("every stream is cut after {}, with heartbeats too", duration(limit));
        found(FindingId::AbsoluteLimit, limit, summary);
    }
    let is_other = |cut: &Millis| seen.heartbeats_cut.is_none_or(|all| !is_same(*cut, all));
    if let Some(cut) = seen.stream_cut.filter(is_other) {
        found(FindingId::IdleLimit, cut, format!("a stream that is silent for {} is cut", duration(cut)));
    }
    if let Some(cut) = seen.head_cut.filter(is_other) {
        let status = seen.head_status.map_or(String::new(), |status| format!(" (status {status})"));
        found(
            FindingId::HeaderLimit,
            cut,
            format!("a request whose response has not begun after {} is cut{status}", duration(cut)),
        );
    }
    flaws
}
