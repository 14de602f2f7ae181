//! What is measured: each scenario is one round in front of one proxy, and gives figures with names.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::backend::Backend;
use crate::certificate::Certificate;
use crate::event::now;
use crate::load::{self, AbortOnDrop, Seen};
use crate::peers::{Peer, Running};

/// How long is measured.
const MEASURED: Duration = Duration::from_secs(4);
/// Streams on one connection of HTTP/2.
const STREAMS: usize = 40;
/// From the last stream's begin to the start of the measurement.
const SETTLE: Duration = Duration::from_secs(1);
/// In how short a time all streams of a round must have begun.
const PATIENCE: Duration = Duration::from_secs(60);

pub const CPU: &str = "CPU per event, µs";
pub const CPU_STREAM: &str = "CPU per stream, µs";
pub const RATE: &str = "events/s";
pub const STREAM_RATE: &str = "streams/s";
pub const MEGABYTES: &str = "MB/s";
pub const GATHERED: &str = "events per read";
pub const P50: &str = "latency p50, ms";
pub const P99: &str = "latency p99, ms";
pub const MEMORY: &str = "KB per stream";
pub const CLOSES: &str = "closes p50, ms";
pub const CLOSES_P99: &str = "closes p99, ms";
pub const GAP_BEFORE: &str = "gap p99 before, ms";
pub const GAP_AFTER: &str = "gap p99 in the second after, ms";
pub const BROKEN: &str = "broken";

/// The figures of one round by their names.
pub type Figures = BTreeMap<&'static str, f64>;

/// What clients do.
#[derive(Clone, Copy, Debug)]
pub enum Scenario {
    /// Streams with an event every 50 ms.
    Steady(usize),
    /// 200 streams with 50 events of 32 B at once, every 200 ms.
    Bursts,
    /// 64 streams as fast as they are taken.
    Saturated,
    /// 8 streams of events of 1 MiB.
    Large,
    /// 64 connections that ask for one stream of 8 events after the other.
    Short,
    /// Streams with one event and then nothing.
    Idle(usize),
    /// The same, 40 on each connection over TLS and HTTP/2.
    IdleHttp2(usize),
    /// Streams with an event each second, to see how the cost of an event grows with their number.
    Growth(usize),
    /// Steady streams, 40 on each connection over TLS and HTTP/2.
    Http2(usize),
    /// 1,000 clients leave at once, beside 20 that stay.
    Storm,
}

impl Scenario {
    pub const ALL: [Self; 11] = [
        Self::Steady(400),
        Self::Steady(2000),
        Self::Bursts,
        Self::Saturated,
        Self::Large,
        Self::Short,
        Self::Http2(400),
        Self::Idle(5000),
        Self::Idle(9900),
        Self::IdleHttp2(10_000),
        Self::Storm,
    ];

    /// Streams whose CPU time per event must not grow with their number.
    pub const GROWTH: [usize; 4] = [100, 1000, 3000, 9900];

    pub fn name(self) -> String {
        match self {
            Self::Steady(streams) => format!("steady-{streams}"),
            Self::Bursts => "bursts".to_owned(),
            Self::Saturated => "saturated".to_owned(),
            Self::Large => "large".to_owned(),
            Self::Short => "short".to_owned(),
            Self::Idle(streams) => format!("idle-{streams}"),
            Self::IdleHttp2(streams) => format!("idle-http2-{streams}"),
            Self::Growth(streams) => format!("growth-{streams}"),
            Self::Http2(streams) => format!("http2-{streams}"),
            Self::Storm => "storm".to_owned(),
        }
    }

    pub fn what(self) -> String {
        match self {
            Self::Steady(streams) => format!("{streams} streams of 20 events/s of 120 B"),
            Self::Bursts => "200 streams of 50 events of 32 B at once, every 200 ms".to_owned(),
            Self::Saturated => "64 streams of events of 120 B as fast as they are taken".to_owned(),
            Self::Large => "8 streams of events of 1 MiB as fast as they are taken".to_owned(),
            Self::Short => "64 keep-alive connections, one stream of 8 events after the other".to_owned(),
            Self::Idle(streams) => format!("{streams} streams with one event and then nothing"),
            Self::IdleHttp2(streams) => {
                format!(
                    "{streams} streams with one event and then nothing, 40 on each connection over TLS and HTTP/2"
                )
            }
            Self::Growth(streams) => format!("{streams} streams, 4,000 events/s of 120 B in all"),
            Self::Http2(streams) => {
                format!("{streams} streams of 20 events/s, 40 on each connection over TLS and HTTP/2")
            }
            Self::Storm => "1,000 streams leave at once; 20 others of 20 events/s stay".to_owned(),
        }
    }

    pub fn includes(self, peer: Peer) -> bool {
        match self {
            Self::Http2(_) | Self::IdleHttp2(_) => peer.speaks_http2(),
            Self::Idle(_) | Self::Storm => peer != Peer::Direct,
            _ => true,
        }
    }

    /// Runs one round.
    pub async fn round(self, proxy: &Running, backend: &Backend, certificate: &Certificate) -> Figures {
        let seen = Rc::new(Seen::default());
        let streams = |count: usize, path: &str| -> Vec<AbortOnDrop> {
            (0..count).map(|_| AbortOnDrop(load::stream(proxy.plain, path, &seen))).collect()
        };
        match self {
            Self::Steady(count) => paced(proxy, &seen, count, streams(count, "/paced/50/120/1")).await,
            Self::Growth(count) => {
                let path = format!("/paced/{}/120/1", count / 4);
                paced(proxy, &seen, count, streams(count, &path)).await
            }
            Self::Bursts => paced(proxy, &seen, 200, streams(200, "/paced/200/32/50")).await,
            Self::Saturated => paced(proxy, &seen, 64, streams(64, "/fast/120")).await,
            Self::Large => {
                let mut figures = paced(proxy, &seen, 8, streams(8, "/fast/1048576")).await;
                for figure in [P50, P99, GATHERED] {
                    figures.remove(figure);
                }
                figures
            }
            Self::Http2(count) => {
                let connection = || load::http2(proxy.tls, "/paced/50/120/1", STREAMS, certificate, &seen);
                let connections = (0..count / STREAMS).map(|_| AbortOnDrop(connection())).collect();
                paced(proxy, &seen, count, connections).await
            }
            Self::Short => {
                let client = || load::short_streams(proxy.plain, "/short/8", &seen);
                let clients: Vec<_> = (0..64).map(|_| AbortOnDrop(client())).collect();
                sleep(SETTLE).await;
                let cpu = measure(proxy, &seen).await;
                drop(clients);
                let ended = seen.ended.get() as f64;
                Figures::from([
                    (STREAM_RATE, ended / MEASURED.as_secs_f64()),
                    (CPU_STREAM, micros(cpu) / ended),
                    (BROKEN, seen.broken.get() as f64),
                ])
            }
            Self::Idle(count) => {
                let client = || load::stream(proxy.plain, "/idle", &seen);
                idle(proxy, &seen, count, 1, client).await
            }
            Self::IdleHttp2(count) => {
                let client = || load::http2(proxy.tls, "/idle", STREAMS, certificate, &seen);
                idle(proxy, &seen, count, STREAMS, client).await
            }
            Self::Storm => storm(proxy, backend, &seen).await,
        }
    }
}

/// Waits until all streams have begun, and measures.
async fn paced(proxy: &Running, seen: &Rc<Seen>, count: usize, streams: Vec<AbortOnDrop>) -> Figures {
    begun(seen, count).await;
    sleep(SETTLE).await;
    let cpu = measure(proxy, seen).await;
    drop(streams);
    let (events, reads) = (seen.events.get() as f64, seen.reads.get() as f64);
    let ages = std::mem::take(&mut *seen.ages.borrow_mut());
    let mut figures = Figures::from([
        (RATE, events / MEASURED.as_secs_f64()),
        (CPU, micros(cpu) / events),
        (GATHERED, events / reads),
        (BROKEN, seen.broken.get() as f64),
        (MEGABYTES, seen.bytes.get() as f64 / MEASURED.as_secs_f64() / 1e6),
    ]);
    if !ages.is_empty() {
        let [p50, p99] = percentiles(ages, [0.5, 0.99]);
        figures.extend([(P50, p50 / 1e6), (P99, p99 / 1e6)]);
    }
    figures
}

async fn begun(seen: &Seen, count: usize) {
    let started = Instant::now();
    while (seen.begun.get() as usize) < count {
        assert!(
            started.elapsed() < PATIENCE,
            "{} of {count} streams have begun, {} broke",
            seen.begun.get(),
            seen.broken.get()
        );
        sleep(Duration::from_millis(20)).await;
    }
}

async fn measure(proxy: &Running, seen: &Seen) -> Duration {
    seen.is_measuring.set(true);
    let before = proxy.cpu_time();
    sleep(MEASURED).await;
    let cpu = proxy.cpu_time() - before;
    seen.is_measuring.set(false);
    cpu
}

/// `connect`: opens a connection with so many streams.
async fn idle(
    proxy: &Running,
    seen: &Rc<Seen>,
    count: usize,
    streams: usize,
    connect: impl Fn() -> JoinHandle<()>,
) -> Figures {
    // What the first streams cost once and for all is no cost of a stream.
    const WARM: usize = 80;
    let mut connections = Vec::new();
    let mut before = 0;
    for end in (WARM..count).step_by(200).chain([count]) {
        while connections.len() * streams < end {
            connections.push(AbortOnDrop(connect()));
        }
        begun(seen, end).await;
        if end == WARM {
            sleep(SETTLE).await;
            before = proxy.memory();
        }
    }
    sleep(SETTLE).await;
    let growth = proxy.memory().saturating_sub(before) as f64;
    Figures::from([(MEMORY, growth / (count - WARM) as f64 / 1e3), (BROKEN, seen.broken.get() as f64)])
}

async fn storm(proxy: &Running, backend: &Backend, seen: &Rc<Seen>) -> Figures {
    let leaving: Vec<_> =
        (0..1000).map(|_| AbortOnDrop(load::stream(proxy.plain, "/paced/1000/120/1", seen))).collect();
    begun(seen, 1000).await;
    let survivors = Rc::new(Seen { gaps: Some(RefCell::default()), ..Seen::default() });
    let staying: Vec<_> =
        (0..20).map(|_| AbortOnDrop(load::stream(proxy.plain, "/paced/50/120/1", &survivors))).collect();
    begun(&survivors, 20).await;
    sleep(MEASURED).await;
    backend.closed().await;
    let (left, left_at) = (now(), Instant::now());
    drop(leaving);
    sleep(Duration::from_secs(2)).await;
    let closed = backend.closed().await;
    let broken = survivors.broken.get() as f64 + (1000.0 - closed.len() as f64).abs();
    drop(staying);
    let [p50, p99] = percentiles(closed.iter().map(|at| at.saturating_sub(left)).collect(), [0.5, 0.99]);
    let gaps = survivors.gaps.as_ref().map(|gaps| gaps.take()).unwrap_or_default();
    let after = left_at..left_at + Duration::from_secs(1);
    let gap_p99 = |is_wanted: &dyn Fn(Instant) -> bool| {
        let wanted = gaps.iter().filter(|(at, _)| is_wanted(*at));
        percentiles(wanted.map(|(_, gap)| gap.as_nanos() as u64).collect(), [0.99])[0] / 1e6
    };
    Figures::from([
        (CLOSES, p50 / 1e6),
        (CLOSES_P99, p99 / 1e6),
        (GAP_BEFORE, gap_p99(&|at| at < left_at)),
        (GAP_AFTER, gap_p99(&|at| after.contains(&at))),
        (BROKEN, broken),
    ])
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Nearest rank.
fn percentiles<const N: usize>(mut sample: Vec<u64>, shares: [f64; N]) -> [f64; N] {
    assert!(!sample.is_empty(), "nothing was measured");
    sample.sort_unstable();
    shares.map(|share| sample[((sample.len() as f64 * share).ceil() as usize).max(1) - 1] as f64)
}
