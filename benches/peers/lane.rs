//! A proxy between a backend and clients of its own, which is under load only in its slices of time.

use std::fs;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::backend::Backend;
use crate::certificate::Certificate;
use crate::contender::{Contender, Running};
use crate::figures::{self, Figures, micros, percentiles};
use crate::load::{self, AbortOnDrop, Seen};

/// Streams on one connection of HTTP/2.
const STREAMS: usize = 40;
/// For how long nothing must come for a slice to be over.
const QUIET: Duration = Duration::from_millis(10);
/// In how short a time all streams must have begun.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the clients of a lane do.
#[derive(Clone, Debug)]
pub enum Load {
    /// So many streams of this path, on connections of their own.
    Streams(usize, String),
    /// The same, 40 on each connection over TLS and HTTP/2.
    Http2(usize, String),
    /// So many streams whose clients throw away most of what comes.
    Skimmed(usize, String),
    /// So many connections that ask for one stream of this path after the other.
    Short(usize, String),
}

impl Load {
    pub fn streams(&self) -> usize {
        match self {
            Self::Streams(count, _)
            | Self::Http2(count, _)
            | Self::Skimmed(count, _)
            | Self::Short(count, _) => *count,
        }
    }

    /// How many streams share a connection.
    pub fn streams_of_connection(&self) -> usize {
        match self {
            Self::Http2(..) => STREAMS,
            Self::Streams(..) | Self::Skimmed(..) | Self::Short(..) => 1,
        }
    }

    pub fn connections(&self) -> usize {
        self.streams() / self.streams_of_connection()
    }
}

pub struct Lane {
    clients: Vec<AbortOnDrop>,
    pub seen: Rc<Seen>,
    pub proxy: Running,
    pub backend: Backend,
}

/// What was measured in one turn.
pub struct Slice {
    pub figures: Figures,
    /// ns from the backend's write to the client's read, one for each read.
    pub ages: Vec<u64>,
}

impl From<Figures> for Slice {
    fn from(figures: Figures) -> Self {
        Self { figures, ages: Vec::new() }
    }
}

impl Lane {
    /// A proxy with its backend, without clients yet.
    pub fn start(contender: Contender, certificate: &Certificate) -> Self {
        let backend = Backend::start();
        let proxy = contender.start(backend.address, certificate);
        Self { clients: Vec::new(), seen: Rc::default(), proxy, backend }
    }

    /// Lets the clients come, and has a slice that is not measured: heaps have grown and caches are warm after it.
    pub async fn open(&mut self, load: &Load, certificate: &Certificate, length: Duration) {
        self.clients = (0..load.connections()).map(|_| self.connect(load, certificate)).collect();
        begun(&self.seen, load.streams()).await;
        self.slice(length).await;
    }

    /// Opens one connection.
    pub fn connect(&self, load: &Load, certificate: &Certificate) -> AbortOnDrop {
        let (plain, seen) = (self.proxy.plain, &self.seen);
        AbortOnDrop(match load {
            Load::Streams(_, path) => load::stream(plain, path, seen),
            Load::Http2(_, path) => load::http2(self.proxy.tls, path, STREAMS, certificate, seen),
            Load::Skimmed(_, path) => load::skimmed(plain, path, seen),
            Load::Short(_, path) => load::short_streams(plain, path, seen),
        })
    }

    /// Puts the proxy under load for so long, and measures from silence to silence: the kernel accounts the time of a thread to
    /// the nanosecond when it stops running, but while it runs only every 4 ms.
    pub async fn slice(&self, length: Duration) -> Slice {
        let seen = &self.seen;
        let before = [self.proxy.cpu_time(), self.backend.cpu_time(), own_cpu_time()];
        seen.is_measuring.set(true);
        seen.turn.send_replace(true);
        self.backend.go().await;
        let started = Instant::now();
        sleep(length).await;
        let seconds = started.elapsed().as_secs_f64();
        let in_time = [seen.all_events(), seen.ended.get() as f64, seen.bytes.get() as f64];
        seen.turn.send_replace(false);
        self.backend.halt().await;
        self.quiet().await;
        seen.is_measuring.set(false);
        let after = [self.proxy.cpu_time(), self.backend.cpu_time(), own_cpu_time()];
        let [proxy, backend, clients] = std::array::from_fn(|index| micros(after[index] - before[index]));

        let mut figures = Figures::from([
            (figures::RATE, in_time[0] / seconds),
            (figures::STREAM_RATE, in_time[1] / seconds),
            (figures::MEGABYTES, in_time[2] / seconds / 1e6),
        ]);
        let costs = [
            (figures::CPU, proxy / seen.all_events()),
            (figures::BACKEND_CPU, backend / seen.all_events()),
            (figures::CLIENT_CPU, clients / seen.all_events()),
            (figures::CPU_STREAM, proxy / seen.ended.get() as f64),
            (figures::GATHERED, seen.events.get() as f64 / seen.reads.get() as f64),
        ];
        // Not every load has events or ends of streams to count.
        figures.extend(costs.into_iter().filter(|(_, cost)| cost.is_finite()));
        figures.insert(figures::BROKEN, seen.broken.take() as f64);
        let ages = seen.ages.take();
        if !ages.is_empty() {
            let [p50, p99] = percentiles(ages.clone(), [0.5, 0.99]);
            figures.extend([(figures::P50, p50 / 1e6), (figures::P99, p99 / 1e6)]);
        }
        seen.forget();
        Slice { figures, ages }
    }

    /// Waits until nothing comes any more.
    async fn quiet(&self) {
        loop {
            let before = self.seen.bytes.get();
            sleep(QUIET).await;
            if self.seen.bytes.get() == before {
                return;
            }
        }
    }
}

/// Waits until so many streams have begun.
pub async fn begun(seen: &Seen, count: usize) {
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

/// CPU time of this process, which is the clients' and has one thread.
fn own_cpu_time() -> Duration {
    let text = fs::read_to_string("/proc/self/schedstat").expect("what the kernel accounts");
    Duration::from_nanos(text.split(' ').next().and_then(|n| n.parse().ok()).expect("ns"))
}
