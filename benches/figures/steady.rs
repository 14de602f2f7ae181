//! Well-behaved streams, to measure the effect of other load on them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::backend::STEADY;
use crate::client::{Client, events};
use crate::numbers::{Sample, ms};

/// The number of streams.
pub const STREAMS: usize = 20;

/// The gaps between reads that contained an event, over all streams.
pub async fn gaps(address: SocketAddr, watched: Duration) -> Sample {
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
    let streams: Vec<_> = (0..STREAMS).map(stream).collect();
    let mut all = Vec::new();
    for stream in streams {
        all.extend(stream.await.expect("a stream"));
    }
    Sample::new(all)
}

/// Prints the head of the table of [`report`].
pub fn print_head() {
    println!("| | inter-event p50 | p99 | max | gaps |\n|---|---|---|---|---|");
}

pub fn report(name: &str, gaps: &Sample) {
    let [p50, p99, max] = [gaps.percentile(50), gaps.percentile(99), gaps.max()].map(ms);
    println!("| {name} | {p50} | {p99} | {max} | {} |", gaps.len());
}
