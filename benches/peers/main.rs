//! Side by side with other proxies: CPU time per event, memory per stream and added latency, all peers in one run and in
//! alternating rounds, one worker each. A peer that is not installed is skipped with a word.
//!
//! `make bench` runs all; `cargo bench --bench peers -- steady-400 nginx sidestream` some. `ROUNDS` (3) says how many rounds;
//! `NGINX`, `HAPROXY`, `CADDY`, `ENVOY` and `BASELINE` name other programs; `REPORT` is a file for everything in JSON.

#![allow(clippy::expect_used, reason = "a measurement that cannot go on has failed")]

mod backend;
mod certificate;
mod event;
#[path = "../../tests/kit"]
#[allow(dead_code, reason = "the tests use the rest")]
mod kit {
    pub mod socket;
    pub mod wire;
}
mod load;
mod peers;
#[path = "../support/process.rs"]
mod process;
mod report;
mod scenarios;

use serde_json::json;

use backend::Backend;
use certificate::Certificate;
use peers::Peer;
use scenarios::Scenario;

const ROUNDS: usize = 3;

fn main() {
    // cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match arguments[..] {
        [backend::ROLE] => runtime.block_on(backend::run()),
        _ => tokio::task::LocalSet::new().block_on(&runtime, compare(&arguments)),
    }
}

async fn compare(wanted: &[&str]) {
    let rounds = std::env::var("ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let (peers, skipped) = choose(wanted);
    let certificate = Certificate::new();
    let mut results = Vec::new();
    for scenario in scenarios(wanted) {
        println!("\n## {}: {} ({rounds} rounds, medians)\n", scenario.name(), scenario.what());
        let mut all: report::Rounds =
            peers.iter().filter(|p| scenario.includes(**p)).map(|p| (*p, Vec::new())).collect();
        for _ in 0..rounds {
            for (peer, figures) in &mut all {
                // Each round has processes of its own, so that none inherits what the one before has left.
                let backend = Backend::start();
                if let Some(proxy) = peer.start(backend.address, &certificate) {
                    figures.push(scenario.round(&proxy, &backend, &certificate).await);
                }
            }
        }
        println!("{}", report::table(&report::medians(&all)));
        results.push(report::json(&scenario.name(), &scenario.what(), &all));
    }
    if let Some(file) = std::env::var_os("REPORT") {
        let zero = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let described = peers.iter().map(|peer| {
            let config = peer.config(zero, zero, zero, &certificate);
            json!({ "peer": peer.name(), "version": peer.version(), "config": config })
        });
        let report =
            json!({ "peers": described.collect::<Vec<_>>(), "skipped": skipped, "results": results });
        std::fs::write(&file, format!("{report:#}\n")).expect("the report");
        println!("everything is in {}", file.display());
    }
}

/// The peers that are wanted and there, and the names of those that are not there.
fn choose(wanted: &[&str]) -> (Vec<Peer>, Vec<&'static str>) {
    let is_named = |peer: &Peer| wanted.contains(&peer.name());
    let all_wanted = !Peer::ALL.iter().any(is_named);
    let mut skipped = Vec::new();
    let peers = Peer::ALL.into_iter().filter(|peer| all_wanted || is_named(peer)).filter(|peer| {
        match peer.version() {
            Some(version) => println!("{}: {version}", peer.name()),
            None if *peer == Peer::Baseline => return false,
            None => {
                println!("{}: not installed, skipped", peer.name());
                skipped.push(peer.name());
                return false;
            }
        }
        true
    });
    (peers.collect(), skipped)
}

fn scenarios(wanted: &[&str]) -> Vec<Scenario> {
    let named = |scenario: &Scenario| wanted.contains(&scenario.name().as_str());
    let mut chosen: Vec<_> = Scenario::ALL.into_iter().filter(named).collect();
    if wanted.contains(&"growth") {
        chosen.extend(Scenario::GROWTH.map(Scenario::Growth));
    }
    if chosen.is_empty() { Scenario::ALL.to_vec() } else { chosen }
}
