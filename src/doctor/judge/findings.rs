//! From the faults at each point to the hop that causes them, and its remedies.

use std::cmp::Reverse;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::answer::{AnswerSeen, answer_flaws};
use super::flaw::Flaw;
use super::rules::flaws;
use super::seen::PointSeen;
use super::verdict::AnswerVerdict;
use crate::doctor::finding_id::{FindingId, Severity};
use crate::doctor::hops::{Advice, Hops, LimitKind, Product, Recognised};

/// The name of the inner side of the first point.
const ORIGIN: &str = "origin";

/// The same without a probe origin.
const BACKEND: &str = "backend";

/// In place of a product: the remedy does not depend on the hop.
pub const ANY: &str = "any";

/// A fault, the hop that causes it, and its remedies.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub id: FindingId,
    pub severity: Severity,
    /// The points between which the hop is.
    pub between: [String; 2],
    pub summary: String,
    pub evidence: Value,
    /// The hops that were recognised between these points.
    pub hops: Vec<SeenHop>,
    pub remedy: Vec<FindingRemedy>,
}

impl Finding {
    /// Whether the command exits with the code for findings.
    pub fn is_grave(&self) -> bool {
        self.severity > Severity::Info
    }
}

/// A product that was recognised by a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeenHop {
    pub name: String,
    pub sign: String,
}

/// What to do about a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FindingRemedy {
    /// A product, or [`ANY`].
    #[serde(rename = "for")]
    pub product: String,
    /// The lines; `None`: the note says what to do instead.
    pub write: Option<String>,
    /// Where they go.
    #[serde(rename = "where")]
    pub place: String,
    pub note: Option<String>,
    pub source: String,
}

impl FindingRemedy {
    fn of(advice: &Advice<'_>, limit: Option<Duration>) -> Self {
        let Advice { product, remedy } = advice;
        Self {
            product: product.map_or(ANY, |product| &product.name).to_owned(),
            write: remedy.write(limit),
            place: remedy.place.clone(),
            note: remedy.note.clone(),
            source: remedy.source.clone(),
        }
    }
}

/// The findings of a chain, the worst first. `points` are in order from inside to outside. If several points show the same flaw, the
/// innermost hop is named: flaws of hops further out show only after that one is mended.
pub fn findings(points: &[PointSeen]) -> Vec<Finding> {
    let flaws: Vec<Vec<Flaw>> = points.iter().map(flaws).collect();
    let mut findings = Vec::new();
    for (index, point) in points.iter().enumerate() {
        // A point that is not reached shows nothing.
        let inner = (0..index).rev().find(|inner| points[*inner].echo.is_ok());
        for flaw in &flaws[index] {
            let is_known =
                (0..index).any(|inner| flaws[inner].iter().any(|other| is_same(other.id, flaw.id)));
            if !is_known {
                let inner = inner.map(|inner| &points[inner]);
                let between = [inner.map_or(ORIGIN, |inner| &inner.name).to_owned(), point.name.clone()];
                findings.push(finding(flaw, between, &hops_between(inner, point)));
            }
        }
    }
    sorted(findings)
}

fn sorted(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| (Reverse(finding.severity), finding.id));
    findings
}

/// The findings of real answers at the points of a chain, from inside to outside: the name of each point with its answer. A refusal
/// that several points show is one finding, at the innermost of them.
pub fn answer_findings(points: &[(String, Result<AnswerSeen, String>)]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut inner: Option<&(String, Result<AnswerSeen, String>)> = None;
    for point in points {
        let (name, seen) = point;
        let flaws = match seen {
            Ok(seen) => answer_flaws(seen),
            Err(why) => vec![Flaw::unreachable(&format!("it is not reached: {why}"), why)],
        };
        let fields = seen.as_ref().map_or(&[][..], |seen| &seen.fields);
        let hops = Hops::read().recognise(&[], fields);
        for flaw in flaws {
            let is_known = match flaw.id {
                FindingId::Unreachable if seen.is_ok() => {
                    inner.is_some_and(|(_, inner)| are_refused_alike(inner, seen))
                }
                FindingId::Unreachable => findings.iter().any(|known| known.summary == flaw.summary),
                id => findings.iter().any(|known| is_same(known.id, id)),
            };
            if is_known {
                continue;
            }
            let between = [inner.map_or(BACKEND, |(name, _)| name).to_owned(), name.clone()];
            let mut finding = finding(&flaw, between, &hops);
            if flaw.id == FindingId::CutLooksComplete && hops.is_empty() {
                // The backend may have stopped by itself, so remedies for hops that were not recognised would mislead.
                finding.remedy.retain(|remedy| remedy.product == ANY);
            }
            findings.push(finding);
        }
        if seen.is_ok() {
            inner = Some(point);
        }
    }
    sorted(findings)
}

/// Whether an answer passes on the refusal of the point further inside.
fn are_refused_alike(inner: &Result<AnswerSeen, String>, outer: &Result<AnswerSeen, String>) -> bool {
    let refused = |seen: &Result<AnswerSeen, String>| {
        seen.as_ref().ok().filter(|seen| seen.verdict == AnswerVerdict::Refused).map(|seen| seen.status)
    };
    refused(inner).is_some() && refused(inner) == refused(outer)
}

/// Events that one hop holds back may arrive in other groups after the next one.
fn is_same(one: FindingId, other: FindingId) -> bool {
    use FindingId::{Buffered, BufferedToEnd, Merged};
    let are_held = |id| matches!(id, Buffered | BufferedToEnd | Merged);
    one == other || (one != FindingId::Unreachable && are_held(one) && are_held(other))
}

fn finding(flaw: &Flaw, between: [String; 2], hops: &[Recognised<'_>]) -> Finding {
    let products: Vec<&Product> = hops.iter().map(|hop| hop.product).collect();
    let mut advice = Hops::read().remedies(flaw.id, &products);
    advice.retain(|advice| !is_in_vain(advice, flaw));
    Finding {
        id: flaw.id,
        severity: flaw.severity,
        between,
        summary: flaw.summary.clone() + &named_limit(flaw, &products),
        evidence: flaw.evidence.clone(),
        hops: hops.iter().map(SeenHop::from).collect(),
        remedy: advice.iter().map(|advice| FindingRemedy::of(advice, flaw.limit)).collect(),
    }
}

/// Whether a remedy is a field that a test has tried without effect.
fn is_in_vain(advice: &Advice<'_>, flaw: &Flaw) -> bool {
    let Some((tried, false)) = flaw.tried else { return false };
    let name = |field: &str| field.split(':').next().map(str::to_owned);
    advice.remedy.write(None).is_some_and(|write| name(&write) == name(tried))
}

/// The products whose default is close to a measured limit; only among `products`, if any were recognised.
fn named_limit(flaw: &Flaw, products: &[&Product]) -> String {
    let kind = match flaw.id {
        FindingId::HeaderLimit => LimitKind::Header,
        FindingId::IdleLimit => LimitKind::Idle,
        FindingId::AbsoluteLimit => LimitKind::Absolute,
        _ => return String::new(),
    };
    let near = flaw.limit.map(|limit| Hops::read().limits_near(kind, limit)).unwrap_or_default();
    let is_there =
        |product: &Product| products.is_empty() || products.iter().any(|there| there.id == product.id);
    let near = near.iter().filter(|(product, _)| is_there(product));
    let names: Vec<_> =
        near.map(|(product, limit)| format!("{} ({})", product.name, limit.setting)).collect();
    if names.is_empty() { String::new() } else { format!("; the default of {}", names.join(", ")) }
}

/// The hops that were recognised at a point and not at the one before. If there are none, all of them: two hops may be the same product.
fn hops_between(inner: Option<&PointSeen>, point: &PointSeen) -> Vec<Recognised<'static>> {
    let recognised =
        |point: &PointSeen| Hops::read().recognise(point.request_fields(), point.response_fields());
    let known: Vec<_> =
        inner.map(recognised).unwrap_or_default().into_iter().map(|hop| hop.evidence).collect();
    let all = recognised(point);
    let new: Vec<_> = all.iter().filter(|hop| !known.contains(&hop.evidence)).cloned().collect();
    if new.is_empty() { all } else { new }
}

impl From<&Recognised<'_>> for SeenHop {
    fn from(hop: &Recognised<'_>) -> Self {
        Self { name: hop.product.name.clone(), sign: hop.evidence.clone() }
    }
}
