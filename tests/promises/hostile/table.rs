//! Writes the table in docs/security.md: how sidestream and other proxies handle the same bodies.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use super::bodies;
use super::case::{Case, Fate};
use super::peers::Peer;
use super::proxy::{Kind, Timeouts};
use super::verdict::SECOND;
use super::wire::is_from_backend;
use super::{Told, each};
use crate::kit::strict::TRAILERS;

/// The results of the cases of a kind, with the number of cases for each.
type Fates = BTreeMap<&'static str, usize>;

/// `make hostile-peers` runs this and rewrites the table. Proxies that are not installed are left out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes a document, and needs other proxies"]
async fn write_what_others_do() {
    let mut columns = vec![(Kind::Sidestream, "sidestream".to_owned())];
    columns.extend(Peer::ALL.iter().filter_map(|peer| Some((Kind::Peer(*peer), peer.version()?))));
    let mut rows: Vec<(&str, Vec<Fates>)> = Vec::new();
    for (column, (kind, name)) in columns.iter().enumerate() {
        let began = Instant::now();
        let told = each(*kind, Timeouts::Long, bodies::all(), |case, told| (case.kind, became(&case, told)));
        let told = told.await;
        println!("{name}: {} cases in {:?}", told.len(), began.elapsed());
        if rows.is_empty() {
            for case in bodies::all() {
                if rows.last().is_none_or(|(kind, _)| *kind != case.kind) {
                    rows.push((case.kind, vec![Fates::new(); columns.len()]));
                }
            }
        }
        for (kind, became) in told {
            let row = rows.iter_mut().find(|(name, _)| *name == kind).expect("a row of each kind");
            *row.1[column].entry(became).or_default() += 1;
        }
    }
    let names: Vec<&str> = columns.iter().map(|(_, name)| name.as_str()).collect();
    write(&render(&names, &rows));
}

/// The result of a case in a few words.
fn became(case: &Case, told: Result<Told, String>) -> &'static str {
    let (heard, seen) = match told {
        Ok(Told { heard, seen }) => (heard, seen),
        Err(what) => {
            println!("{}: {what}", case.name);
            return "held open for more than 20 s";
        }
    };
    if heard.answers.first().is_some_and(|answer| answer.status == 101) {
        return "101, and a tunnel";
    }
    if let Some(doubt) = seen.iter().find_map(|read| read.as_ref().err()) {
        return if doubt == TRAILERS { "forwarded with its trailers" } else { "**forwarded as it came**" };
    }
    let is_surplus = |target: &str| target == SECOND || target == "/smuggled";
    let has = |surplus| seen.iter().flatten().any(|request| is_surplus(&request.target) == surplus);
    match (has(false), has(true), case.fate) {
        (true, ..) => "forwarded",
        // The first request was rejected or answered early.
        (false, true, Fate::Whole(_) | Fate::Early | Fate::Odd(_)) if heard.answers.len() > 1 => {
            if is_from_backend(&heard.answers[0]) {
                "answered early"
            } else {
                "refused, next request served"
            }
        }
        (false, true, _) => "**what follows became a request**",
        // The proxy itself has sent two responses.
        (false, false, _) if heard.answers.len() > 1 => "**what follows was read as a request**",
        (false, false, _) if heard.is_closed => "refused, closed",
        (false, false, _) => "refused, left open",
    }
}

fn render(names: &[&str], rows: &[(&str, Vec<Fates>)]) -> String {
    let mut table =
        format!("| body (wires) | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    for (kind, columns) in rows {
        let wires: usize = columns.first().map_or(0, |fates| fates.values().sum());
        let cells: Vec<String> = columns.iter().map(cell).collect();
        table.push_str(&format!("| {kind} ({wires}) | {} |\n", cells.join(" | ")));
    }
    table
}

/// The results of a kind, the most frequent one first.
fn cell(fates: &Fates) -> String {
    let mut fates: Vec<(&&str, &usize)> = fates.iter().collect();
    fates.sort_by(|a, b| b.1.cmp(a.1));
    if let [(only, _)] = fates[..] {
        return (*only).to_owned();
    }
    fates.iter().map(|(what, count)| format!("{what} ({count})")).collect::<Vec<_>>().join("<br>")
}

fn write(table: &str) {
    const BEGIN: &str = "<!-- broken bodies -->\n";
    const END: &str = "<!-- /broken bodies -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/security.md");
    let text = std::fs::read_to_string(&path).expect("the document");
    let (before, rest) = text.split_once(BEGIN).expect("a mark");
    let (_, after) = rest.split_once(END).expect("a mark");
    std::fs::write(&path, format!("{before}{BEGIN}\n{table}\n{END}{after}")).expect("a file");
}
