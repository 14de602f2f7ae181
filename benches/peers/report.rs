//! The results: a table in Markdown for each scenario, and everything in JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::peers::Peer;
use crate::scenarios::{self, Figures};

/// Figures for which the ratio to nginx's is told.
const COMPARED: [&str; 3] = [scenarios::CPU, scenarios::CPU_STREAM, scenarios::MEMORY];
/// Latencies, of which the direct connection's is taken away in the same round.
const LATENCIES: [(&str, &str); 2] = [(scenarios::P50, "added p50, ms"), (scenarios::P99, "added p99, ms")];

/// The rounds of one scenario, by peer, in order.
pub type Rounds = Vec<(Peer, Vec<Figures>)>;

/// The medians of all rounds, with what a proxy adds to the latency.
pub fn medians(rounds: &Rounds) -> Vec<(Peer, BTreeMap<String, f64>)> {
    let direct = rounds.iter().find(|(peer, _)| *peer == Peer::Direct).map(|(_, rounds)| rounds);
    let of_peer = |(peer, rounds): &(Peer, Vec<Figures>)| {
        let mut columns = BTreeMap::<String, Vec<f64>>::new();
        for (index, figures) in rounds.iter().enumerate() {
            for (name, figure) in figures {
                columns.entry((*name).to_owned()).or_default().push(*figure);
            }
            for (latency, added) in LATENCIES {
                let base = direct.and_then(|direct| direct.get(index)?.get(latency));
                if let (Some(base), Some(own)) = (base, figures.get(latency)) {
                    columns.entry(added.to_owned()).or_default().push(own - base);
                }
            }
        }
        (*peer, columns.into_iter().map(|(name, values)| (name, median(values))).collect())
    };
    rounds.iter().filter(|(_, rounds)| !rounds.is_empty()).map(of_peer).collect()
}

/// The middle of some numbers.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A table with a row for each peer.
pub fn table(medians: &[(Peer, BTreeMap<String, f64>)]) -> String {
    let mut names: Vec<&String> = medians.iter().flat_map(|(_, figures)| figures.keys()).collect();
    names.sort();
    names.dedup();
    let nginx = medians.iter().find(|(peer, _)| *peer == Peer::Nginx).map(|(_, figures)| figures);
    let mut table =
        format!("| |{}\n|---|{}\n", row(names.iter().map(|n| n.as_str())), "---|".repeat(names.len()));
    for (peer, figures) in medians {
        let cells = names.iter().map(|name| {
            let Some(figure) = figures.get(*name) else { return String::new() };
            let ratio =
                nginx.and_then(|nginx| nginx.get(*name)).filter(|_| COMPARED.contains(&name.as_str()));
            match ratio {
                Some(nginx) => format!("{} ({:.2}x)", number(*figure), figure / nginx),
                None => number(*figure),
            }
        });
        table += &format!("| {} |{}\n", peer.name(), row(cells));
    }
    table
}

fn row(cells: impl Iterator<Item = impl AsRef<str>>) -> String {
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

/// One scenario with all its rounds.
pub fn json(name: &str, what: &str, rounds: &Rounds) -> Value {
    let medians: BTreeMap<_, _> = medians(rounds).into_iter().map(|(peer, m)| (peer.name(), m)).collect();
    let rounds: BTreeMap<_, _> = rounds.iter().map(|(peer, rounds)| (peer.name(), rounds)).collect();
    json!({ "scenario": name, "what": what, "medians": medians, "rounds": rounds })
}
