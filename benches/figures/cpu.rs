//! CPU time per event beside nginx, and beside another build if `BASELINE` names one, in alternating rounds of one run.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use crate::backend::{Backend, SATURATED, STEADY};
use crate::client::{Client, events};
use crate::numbers::median;
use crate::proxy::Proxy;

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(8);
/// From the last connection to the start of the measurement.
const SETTLE: Duration = Duration::from_secs(2);

/// What one round gave.
struct Round {
    events_per_second: f64,
    /// µs of CPU time per event.
    cpu: f64,
    /// Events per read of the client: how much a write of the proxy gathers, if the client keeps up.
    events_per_read: f64,
}

pub async fn measure() {
    let backend = Backend::start().await;
    println!(
        "\n## CPU time per event of 120 B, one worker each ({ROUNDS} alternating rounds of {ROUND:?}, medians)\n"
    );
    println!(
        "| load | proxy | events/s | events per read | CPU per event | of nginx |\n|---|---|---|---|---|---|"
    );
    for (load, path, streams) in
        [("steady: 400 streams x 20/s", STEADY, 400), ("saturated: 64 streams", SATURATED, 64)]
    {
        let mut rounds: [(&str, Vec<Round>); 3] =
            [("sidestream", Vec::new()), ("the baseline", Vec::new()), ("nginx", Vec::new())];
        for _ in 0..ROUNDS {
            for (name, rounds) in &mut rounds {
                let proxy = match *name {
                    "sidestream" => Some(Proxy::sidestream(backend.address, "")),
                    "nginx" => Proxy::nginx(backend.address),
                    _ => Proxy::baseline(backend.address),
                };
                if let Some(proxy) = proxy {
                    rounds.push(round(&proxy, path, streams).await);
                }
            }
        }
        let nginx = &rounds[2].1;
        let nginx = (!nginx.is_empty()).then(|| median_of(nginx, |r| r.cpu));
        for (name, rounds) in rounds.iter().filter(|(_, rounds)| !rounds.is_empty()) {
            report(load, name, rounds, nginx);
        }
    }
}

async fn round(proxy: &Proxy, path: &'static str, streams: usize) -> Round {
    let counts = Arc::new(Counts::default());
    let clients: Vec<_> =
        (0..streams).map(|_| tokio::spawn(read(proxy.address, path, counts.clone()))).collect();
    sleep(SETTLE).await;
    counts.measuring.store(true, Ordering::Relaxed);
    let before = proxy.cpu_time();
    sleep(ROUND).await;
    let cpu = proxy.cpu_time() - before;
    counts.measuring.store(false, Ordering::Relaxed);
    for client in clients {
        client.abort();
    }
    let events = counts.events.load(Ordering::Relaxed) as f64;
    Round {
        events_per_second: events / ROUND.as_secs_f64(),
        cpu: cpu.as_secs_f64() * 1e6 / events,
        events_per_read: events / counts.reads.load(Ordering::Relaxed) as f64,
    }
}

#[derive(Default)]
struct Counts {
    measuring: AtomicBool,
    events: AtomicU64,
    reads: AtomicU64,
}

async fn read(address: SocketAddr, path: &str, counts: Arc<Counts>) {
    let mut client = Client::get(address, path).await;
    loop {
        let bytes = client.read().await;
        if bytes.is_empty() {
            return;
        }
        if counts.measuring.load(Ordering::Relaxed) {
            counts.events.fetch_add(events(bytes), Ordering::Relaxed);
            counts.reads.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn median_of(rounds: &[Round], figure: impl Fn(&Round) -> f64) -> f64 {
    median(rounds.iter().map(figure).collect())
}

fn report(load: &str, proxy: &str, rounds: &[Round], nginx: Option<f64>) {
    let rate = median_of(rounds, |r| r.events_per_second);
    let cpu = median_of(rounds, |r| r.cpu);
    let gathered = median_of(rounds, |r| r.events_per_read);
    let ratio =
        nginx.map_or_else(|| "nginx is not installed".to_owned(), |nginx| format!("{:.2}", cpu / nginx));
    println!("| {load} | {proxy} | {rate:.0} | {gathered:.1} | {cpu:.2} µs | {ratio} |");
}
