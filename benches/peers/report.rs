//! The results: a table in Markdown for each scenario, and everything in JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::figures::{self, Estimate, Figures, median, percentiles};
use crate::lane::Slice;
use crate::peers::Peer;
use crate::rounds::Rounds;
use crate::scenarios::Scenario;

/// Figures for which the ratio to those of the peer that is compared with is told.
const COMPARED: [&str; 3] = [figures::CPU, figures::CPU_STREAM, figures::MEMORY];

/// What all turns of one peer say.
pub struct Row {
    peer: Peer,
    /// Medians over the rounds, but percentiles of the latency over all of them, and the sum of what broke.
    figures: Figures,
    /// Each round's figure by that of the peer compared with in the same round.
    ratios: BTreeMap<&'static str, Estimate>,
}

pub fn rows(rounds: &Rounds) -> Vec<Row> {
    let of = |wanted: Peer| rounds.iter().find(|(peer, _)| *peer == wanted).map(|(_, slices)| slices);
    let compared_with = of(Peer::Nginx).or_else(|| of(Peer::Baseline));
    let direct = of(Peer::Direct).and_then(|slices| latencies(slices));
    let row = |(peer, slices): &(Peer, Vec<Slice>)| {
        let mut columns = BTreeMap::<_, Vec<f64>>::new();
        for (name, figure) in slices.iter().flat_map(|slice| &slice.figures) {
            columns.entry(*name).or_default().push(*figure);
        }
        let total = |(name, values): (_, Vec<f64>)| match name {
            figures::BROKEN => (name, values.iter().sum()),
            _ => (name, median(values)),
        };
        let mut figures: Figures = columns.into_iter().map(total).collect();
        if let Some([p50, p99]) = latencies(slices) {
            figures.extend(match direct {
                Some(direct) => {
                    [(figures::ADDED_P50, p50 - direct[0]), (figures::ADDED_P99, p99 - direct[1])]
                }
                None => [(figures::P50, p50), (figures::P99, p99)],
            });
            if direct.is_some() {
                figures.retain(|name, _| ![figures::P50, figures::P99].contains(name));
            }
        }
        let ratio = |name| Some((name, compare(slices, compared_with?, name)?));
        Row { peer: *peer, figures, ratios: COMPARED.into_iter().filter_map(ratio).collect() }
    };
    rounds.iter().map(row).collect()
}

/// The p50 and the p99 in ms of all turns together.
fn latencies(slices: &[Slice]) -> Option<[f64; 2]> {
    let ages: Vec<u64> = slices.iter().flat_map(|slice| &slice.ages).copied().collect();
    (!ages.is_empty()).then(|| percentiles(ages, [0.5, 0.99]).map(|ns| ns / 1e6))
}

/// The ratio of a figure to what it was with others in the same rounds.
fn compare(own: &[Slice], others: &[Slice], name: &str) -> Option<Estimate> {
    let ratio = |(own, other): (&Slice, &Slice)| Some(own.figures.get(name)? / other.figures.get(name)?);
    let ratios: Option<Vec<f64>> = own.iter().zip(others).map(ratio).collect();
    ratios.filter(|ratios| !ratios.is_empty()).map(|ratios| Estimate::of(&ratios))
}

/// A table with a row for each peer.
pub fn table(rows: &[Row], columns: &[&str]) -> String {
    let is_there = |name: &&&str| rows.iter().any(|row| row.figures.contains_key(**name));
    let columns: Vec<&str> = columns.iter().filter(is_there).copied().collect();
    let mut table = format!("| |{}\n|---|{}\n", line(columns.iter()), "---|".repeat(columns.len()));
    for row in rows {
        let cells = columns.iter().map(|name| {
            let Some(figure) = row.figures.get(name) else { return String::new() };
            let figure = number(*figure);
            match row.ratios.get(name) {
                Some(Estimate { median, low, high }) if *median > 0.0 => {
                    format!("{figure} ({median:.2}x; {low:.2} to {high:.2})")
                }
                _ => figure,
            }
        });
        table += &format!("| {} |{}\n", row.peer.name(), line(cells));
    }
    table
}

fn line(cells: impl Iterator<Item = impl AsRef<str>>) -> String {
    cells.map(|cell| format!(" {} |", cell.as_ref())).collect()
}

/// With as many digits as mean something.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// One scenario with all its turns.
pub fn json(scenario: Scenario, rounds: &Rounds, rows: &[Row]) -> Value {
    let summary = |row: &Row| {
        let ratio = |(name, ratio): (&&'static str, &Estimate)| {
            (*name, json!({ "median": ratio.median, "low": ratio.low, "high": ratio.high }))
        };
        let ratios: BTreeMap<_, _> = row.ratios.iter().map(ratio).collect();
        (row.peer.name(), json!({ "figures": row.figures, "ratios": ratios }))
    };
    let mut every = BTreeMap::<_, Vec<&Figures>>::new();
    for (peer, slices) in rounds {
        every.insert(peer.name(), slices.iter().map(|slice| &slice.figures).collect());
    }
    json!({
        "scenario": scenario.name(),
        "what": scenario.what(),
        "peers": rows.iter().map(summary).collect::<BTreeMap<_, _>>(),
        "rounds": every,
    })
}
