//! The report: a Markdown table per scenario, and all results in JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::contender::Contender;
use crate::figures::{self, Estimate, Figures, median, percentiles};
use crate::lane::Slice;
use crate::peers::Peer;
use crate::rounds::Rounds;
use crate::scenarios::Scenario;

/// Figures that are also shown as a ratio to the reference peer.
const COMPARED: [&str; 3] = [figures::CPU, figures::CPU_STREAM, figures::MEMORY];

/// Figures that are also shown as a ratio to the same peer with one worker.
const SCALED: [&str; 2] = [figures::RATE, figures::CPU];

type Ratios = BTreeMap<&'static str, Estimate>;

/// The results of a contender.
pub struct Row {
    contender: Contender,
    /// Medians over the rounds. Latency percentiles are taken over all reads, and broken streams are summed.
    figures: Figures,
    /// Ratios to the reference peer with the same number of workers, round by round.
    ratios: Ratios,
    /// Ratios to the same peer with one worker, if it has more.
    scaled: Ratios,
}

pub fn rows(rounds: &Rounds) -> Vec<Row> {
    let of = |peer, workers| {
        let wanted = Contender { peer, workers };
        rounds.iter().find(|(contender, _)| *contender == wanted).map(|(_, slices)| slices)
    };
    let direct = of(Peer::Direct, 1).and_then(|slices| latencies(slices));
    let row = |(contender, slices): &(Contender, Vec<Slice>)| {
        let Contender { peer, workers } = *contender;
        let others = of(Peer::Nginx, workers).or_else(|| of(Peer::Baseline, workers));
        let alone = of(peer, 1).filter(|_| workers > 1);
        Row {
            contender: *contender,
            figures: summary(slices, direct),
            ratios: others.map(|others| ratios(slices, others, &COMPARED)).unwrap_or_default(),
            scaled: alone.map(|alone| ratios(slices, alone, &SCALED)).unwrap_or_default(),
        }
    };
    rounds.iter().map(row).collect()
}

/// `direct`: the latencies without a proxy, if they were measured.
fn summary(slices: &[Slice], direct: Option<[f64; 2]>) -> Figures {
    let mut columns = BTreeMap::<_, Vec<f64>>::new();
    for (name, figure) in slices.iter().flat_map(|slice| &slice.figures) {
        columns.entry(*name).or_default().push(*figure);
    }
    let total = |(name, values): (_, Vec<f64>)| match name {
        figures::BROKEN => (name, values.iter().sum()),
        _ => (name, median(values)),
    };
    let mut figures: Figures = columns.into_iter().map(total).collect();
    match (latencies(slices), direct) {
        (Some([p50, p99]), Some([direct_p50, direct_p99])) => {
            figures.retain(|name, _| ![figures::P50, figures::P99].contains(name));
            figures.extend([(figures::ADDED_P50, p50 - direct_p50), (figures::ADDED_P99, p99 - direct_p99)]);
        }
        (Some([p50, p99]), None) => figures.extend([(figures::P50, p50), (figures::P99, p99)]),
        (None, _) => {}
    }
    figures
}

/// The p50 and p99 in ms over all slices.
fn latencies(slices: &[Slice]) -> Option<[f64; 2]> {
    let ages: Vec<u64> = slices.iter().flat_map(|slice| &slice.ages).copied().collect();
    (!ages.is_empty()).then(|| percentiles(ages, [0.5, 0.99]).map(|ns| ns / 1e6))
}

/// The ratios of figures to those of other slices in the same rounds.
fn ratios(own: &[Slice], others: &[Slice], names: &[&'static str]) -> Ratios {
    let ratio = |name| {
        let ratio = |(own, other): (&Slice, &Slice)| Some(own.figures.get(name)? / other.figures.get(name)?);
        let values: Option<Vec<f64>> = own.iter().zip(others).map(ratio).collect();
        let values = values.filter(|values| values.iter().any(|value| *value > 0.0))?;
        Some((name, Estimate::of(&values)))
    };
    names.iter().copied().filter_map(ratio).collect()
}

/// A table with a row per contender.
pub fn table(rows: &[Row], columns: &[&'static str]) -> String {
    let mut cells: Vec<Vec<String>> = [String::new()]
        .into_iter()
        .chain(rows.iter().map(|row| row.contender.name()))
        .map(|name| vec![name])
        .collect();
    for name in columns.iter().filter(|name| rows.iter().any(|row| row.figures.contains_key(*name))) {
        let figure = |row: &Row| {
            let figure = row.figures.get(name).copied().map(number).unwrap_or_default();
            row.ratios.get(name).map_or(figure.clone(), |ratio| format!("{figure} ({ratio})"))
        };
        column(&mut cells, name, rows.iter().map(figure));
        if rows.iter().any(|row| row.scaled.contains_key(name)) {
            let scaled = |row: &Row| row.scaled.get(name).map(Estimate::to_string).unwrap_or_default();
            column(&mut cells, "beside one worker", rows.iter().map(scaled));
        }
    }
    let rule = vec!["---".to_owned(); cells[0].len()];
    cells.insert(1, rule);
    cells.iter().map(|cells| format!("| {} |\n", cells.join(" | "))).collect()
}

/// Adds a column to rows of cells.
fn column(lines: &mut [Vec<String>], name: &str, cells: impl Iterator<Item = String>) {
    for (line, cell) in lines.iter_mut().zip([name.to_owned()].into_iter().chain(cells)) {
        line.push(cell);
    }
}

/// Formats a number with about three significant digits.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The results of a scenario, with all its slices.
pub fn json(scenario: Scenario, rounds: &Rounds, rows: &[Row]) -> Value {
    let estimates = |ratios: &Ratios| -> BTreeMap<&'static str, Value> {
        let json =
            |Estimate { median, low, high }: &Estimate| json!({ "median": median, "low": low, "high": high });
        ratios.iter().map(|(name, estimate)| (*name, json(estimate))).collect()
    };
    let contenders = rows.iter().zip(rounds).map(|(row, (contender, slices))| {
        json!({
            "peer": contender.peer.name(),
            "workers": contender.workers,
            "figures": row.figures,
            "ratios": estimates(&row.ratios),
            "beside_one_worker": estimates(&row.scaled),
            "rounds": slices.iter().map(|slice| &slice.figures).collect::<Vec<_>>(),
        })
    });
    json!({
        "scenario": scenario.name(),
        "what": scenario.what(),
        "contenders": contenders.collect::<Vec<_>>(),
    })
}
