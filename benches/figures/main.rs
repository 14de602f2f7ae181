//! Measurements of the documented properties, on real sockets against the release binary: cancel propagation,
//! the accuracy of timers, the effect of `coalesce`, the accuracy of logged times, the cost of a scrape, slow
//! readers and hostile clients, the reliability and cost of WebSockets, and shutdown. `benches/peers/`
//! compares the cost of an event with other proxies.
//!
//! Run all with `make figures`, or some with `cargo bench --bench figures -- disconnects timers pacing truth
//! scrape slow-reader hostile websockets drain`.

#![allow(clippy::expect_used, reason = "a measurement that cannot go on has failed")]

mod backend;
mod client;
mod disconnects;
mod drain;
mod hostile;
#[path = "../../tests/kit"]
#[allow(dead_code, reason = "the tests use the rest")]
mod kit {
    pub mod socket;
    pub mod wire;
}
mod numbers;
mod pacing;
#[path = "../support/process.rs"]
mod process;
mod proxy;
mod scrape;
mod slow_reader;
mod steady;
mod timers;
mod truth;
mod websockets;

#[tokio::main]
async fn main() {
    // Cargo adds `--bench`.
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    if is_wanted("disconnects") {
        disconnects::measure().await;
    }
    if is_wanted("timers") {
        timers::measure().await;
    }
    if is_wanted("pacing") {
        pacing::measure().await;
    }
    if is_wanted("truth") {
        truth::measure().await;
    }
    if is_wanted("scrape") {
        scrape::measure().await;
    }
    if is_wanted("slow-reader") {
        slow_reader::measure().await;
    }
    if is_wanted("hostile") {
        hostile::measure().await;
    }
    if is_wanted("websockets") {
        websockets::measure().await;
    }
    if is_wanted("drain") {
        drain::measure().await;
    }
}
