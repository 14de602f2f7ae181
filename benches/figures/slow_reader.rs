//! A client that reads 10 KB/s while the backend pushes as fast as it can: what it costs the proxy, and the others.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::backend::{Backend, SATURATED, STEADY};
use crate::client::{Client, events};
use crate::numbers::{Sample, ms};
use crate::proxy::Proxy;

const OTHERS: usize = 20;
const WATCHED: Duration = Duration::from_secs(20);

pub async fn measure() {
    let backend = Backend::start().await;
    let proxy = Proxy::sidestream(backend.address, "");
    println!(
        "\n## A client that reads 10 KB/s from a backend that pushes without end, beside {OTHERS} steady streams\n"
    );
    println!("| | inter-event p50 | p99 | max | gaps |\n|---|---|---|---|---|");
    report("without the slow reader", gaps(proxy.address, WATCHED).await);
    let before = proxy.memory();
    let slow = read_slowly(proxy.address);
    let others = tokio::spawn(gaps(proxy.address, WATCHED));
    let mut most = before;
    while !others.is_finished() {
        sleep(Duration::from_millis(100)).await;
        most = most.max(proxy.memory());
    }
    report("with the slow reader", others.await.expect("gaps"));
    slow.abort();
    let growth = most.saturating_sub(before) / 1024;
    println!(
        "\nMemory of the process: {} KiB before, at most {growth} KiB more with the slow reader.",
        before / 1024
    );
}

/// 1 KB every 100 ms.
fn read_slowly(address: SocketAddr) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut client = Client::get_with_window(address, SATURATED, 16 * 1024).await;
        loop {
            client.read_at_most(1000).await;
            sleep(Duration::from_millis(100)).await;
        }
    })
}

/// The gaps between reads that held an event, over all steady streams.
async fn gaps(address: SocketAddr, watched: Duration) -> Sample {
    let stream = |_| {
        tokio::spawn(async move {
            let mut client = Client::get(address, STEADY).await;
            let (mut gaps, mut last, end) = (Vec::new(), None, Instant::now() + watched);
            while Instant::now() < end {
                if events(client.read().await) > 0
                    && let Some(last) = last.replace(Instant::now())
                {
                    gaps.push(Instant::now() - last);
                }
            }
            gaps
        })
    };
    let streams: Vec<_> = (0..OTHERS).map(stream).collect();
    let mut all = Vec::new();
    for stream in streams {
        all.extend(stream.await.expect("a stream"));
    }
    Sample::new(all)
}

fn report(name: &str, gaps: Sample) {
    let [p50, p99, max] = [gaps.percentile(50), gaps.percentile(99), gaps.max()].map(ms);
    println!("| {name} | {p50} | {p99} | {max} | {} |", gaps.len());
}
