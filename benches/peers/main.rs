//! Compares sidestream with other proxies: CPU time per event, memory per stream and added latency, with one
//! worker each unless stated otherwise. All peers run at the same time and take turns under load. Peers that
//! are not installed are skipped with a message.
//!
//! `make bench` runs everything; `cargo bench --bench peers -- steady-400 nginx sidestream` runs a part.
//! `ROUNDS` sets the number of rounds (60, or 3 for measurements that start processes) and `SLICE_MS` the
//! length of a turn (200). `NGINX`, `HAPROXY`, `CADDY`, `ENVOY` and `BASELINE` name the programs. `REPORT`
//! names a JSON file for all results.

#![allow(clippy::expect_used, reason = "a measurement that cannot go on has failed")]

mod alone;
mod backend;
mod bare_epoll;
mod bare_tokio;
mod certificate;
mod chat;
mod contender;
mod event;
mod figures;
#[path = "../../tests/kit"]
#[allow(dead_code, reason = "the tests use the rest")]
mod kit {
    pub mod socket;
    pub mod wire;
}
mod lane;
mod load;
mod pacer;
mod peers;
mod pingora_client;
#[path = "../support/process.rs"]
mod process;
mod report;
mod rounds;
mod scenarios;
mod sockets;

use std::net::SocketAddr;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use certificate::Certificate;
use contender::Contender;
use peers::Peer;
use scenarios::Scenario;

fn main() {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    match arguments[..] {
        [backend::ROLE, own] => runtime.block_on(backend::run(address(own))),
        [bare_epoll::ROLE, own, to] => bare_epoll::run(address(own), address(to)).expect("a relay"),
        [bare_tokio::ROLE, own, to] => runtime.block_on(bare_tokio::run(address(own), address(to))),
        [pingora_client::ROLE, own, to] => runtime.block_on(pingora_client::run(address(own), address(to))),
        _ => tokio::task::LocalSet::new().block_on(&runtime, async {
            // On SIGTERM, drops and thereby kills the proxies.
            tokio::select! {
                () = compare(&arguments) => {}
                () = terminated() => {}
            }
        }),
    }
}

async fn terminated() {
    signal(SignalKind::terminate()).expect("a signal").recv().await;
}

async fn compare(wanted: &[&str]) {
    let (peers, skipped) = choose(wanted);
    let certificate = Certificate::new();
    let mut results = Vec::new();
    for scenario in scenarios(wanted) {
        println!("\n## {}: {}\n", scenario.name(), scenario.what());
        let contenders = scenario.contenders(&peers);
        let rounds = rounds::run(&scenario.work(), &contenders, &certificate).await;
        let rows = report::rows(&rounds);
        println!("{}", report::table(&rows, scenario.columns()));
        results.push(report::json(scenario, &rounds, &rows));
    }
    if let Some(file) = std::env::var_os("REPORT") {
        let zero = SocketAddr::from(([127, 0, 0, 1], 0));
        let described = peers.iter().map(|peer| {
            let config = Contender::of(*peer).config(zero, zero, zero, &certificate);
            json!({ "peer": peer.name(), "version": peer.version(), "config": config })
        });
        let report =
            json!({ "peers": described.collect::<Vec<_>>(), "skipped": skipped, "results": results });
        std::fs::write(&file, format!("{report:#}\n")).expect("the report");
        println!("all results are in {}", file.display());
    }
}

/// The requested peers that are installed, and the names of those that are not.
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
