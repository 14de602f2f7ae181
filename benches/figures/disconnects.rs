//! The time from a client disconnect until the backend sees its connection close.

use std::time::{Duration, Instant};

use crate::backend::{BRISK, Backend, HEAD_ONLY, MARK, PREFILL, SILENT};
use crate::client::Client;
use crate::numbers::{Sample, ms};
use crate::proxy::Proxy;

const TRIES: usize = 100;

pub async fn measure() {
    let mut backend = Backend::start().await;
    let proxy = Proxy::sidestream(backend.address, "");
    println!("\n## Client gone -> backend sees its connection close ({TRIES} tries each)\n");
    println!("| phase | how | median | p99 | max |\n|---|---|---|---|---|");
    for (phase, path) in
        [("prefill", PREFILL), ("header, no event", HEAD_ONLY), ("mid-stream", BRISK), ("silence", SILENT)]
    {
        for (how, reset) in [("FIN", false), ("RST", true)] {
            let mut times = Vec::new();
            for _ in 0..TRIES {
                times.push(once(&mut backend, &proxy, path, reset).await);
            }
            let times = Sample::new(times);
            let [median, p99, max] = [times.percentile(50), times.percentile(99), times.max()].map(ms);
            println!("| {phase} | {how} | {median} | {p99} | {max} |");
        }
    }
}

async fn once(backend: &mut Backend, proxy: &Proxy, path: &str, reset: bool) -> Duration {
    let mut client = Client::get(proxy.address, path).await;
    match path {
        // Long enough for the request to reach the backend.
        PREFILL => tokio::time::sleep(Duration::from_millis(20)).await,
        HEAD_ONLY => client.read_until(b"\r\n\r\n").await,
        _ => client.read_until(&[MARK]).await,
    }
    let left = Instant::now();
    client.leave(reset);
    backend.closed.recv().await.expect("a backend") - left
}
