//! A lane: a proxy with its own backend and clients, under load only during its slices of time.

use std::fs;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::backend::Backend;
use crate::certificate::Certificate;
use crate::contender::{Contender, Running};
use crate::figures::{self, Figures, micros, percentiles};
use crate::load::{self, AbortOnDrop, Seen};

/// Streams per HTTP/2 connection.
const STREAMS: usize = 40;
/// A slice is over when nothing has arrived for this time.
const QUIET: Duration = Duration::from_millis(10);
/// The timeout for all streams to begin.
const PATIENCE: Duration = Duration::from_secs(60);

/// The load that the clients of a lane create.
#[derive(Clone, Debug)]
pub enum Load {
    /// This many streams of this path, each on its own connection.
    Streams(usize, String),
    /// The same, with 40 streams per connection over TLS and HTTP/2.
    Http2(usize, String),
    /// This many streams whose clients discard most of the bytes.
    Skimmed(usize, String),
    /// This many connections that request one stream of this path after the other.
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

    /// Streams per connection.
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

/// The measurements of one slice.
pub struct Slice {
    pub figures: Figures,
    /// The time in ns from the backend's write to the client's read, one per read.
    pub ages: Vec<u64>,
}

impl From<Figures> for Slice {
    fn from(figures: Figures) -> Self {
        Self { figures, ages: Vec::new() }
    }
}

impl Lane {
    /// Starts a proxy with its backend, without clients.
    pub fn start(contender: Contender, certificate: &Certificate) -> Self {
        let backend = Backend::start();
        let proxy = contender.start(backend.address, certificate);
        Self { clients: Vec::new(), seen: Rc::default(), proxy, backend }
    }

    /// Opens the clients, and runs one slice that is not measured, to warm up.
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

    /// Puts the proxy under load for this long. Measures from silence to silence, because the kernel accounts
    /// the CPU time of a thread exactly when it stops running, but otherwise only every 4 ms.
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
        // Figures that the load does not produce are not finite.
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

    /// Waits until nothing arrives any more.
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

/// Waits until this many streams have begun.
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

/// The CPU time of this process, which runs the clients in one thread.
fn own_cpu_time() -> Duration {
    let text = fs::read_to_string("/proc/self/schedstat").expect("what the kernel accounts");
    Duration::from_nanos(text.split(' ').next().and_then(|n| n.parse().ok()).expect("ns"))
}
