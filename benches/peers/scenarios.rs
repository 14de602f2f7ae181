//! The scenarios: what clients do, and which figures are reported.

use crate::chat;
use crate::contender::Contender;
use crate::figures::*;
use crate::lane::Load;
use crate::peers::Peer;

/// How a scenario is measured.
pub enum Work {
    /// In slices of this load.
    Slices(Load),
    /// By the memory of these streams.
    Idle(Load),
    /// By the effects when many clients disconnect at once.
    Storm,
}

/// What clients do.
#[derive(Clone, Copy, Debug)]
pub enum Scenario {
    /// Streams with an event every 50 ms.
    Steady(usize),
    /// 200 streams with a burst of 50 events of 32 B every 200 ms.
    Bursts,
    /// 64 streams as fast as they are read.
    Saturated,
    /// 8 streams with events of 1 MiB.
    Large,
    /// 64 connections that request one chat completion of 8 tokens after the other.
    Short,
    /// Streams with one event, then silence.
    Idle(usize),
    /// The same, with 40 streams per connection over TLS and HTTP/2.
    IdleHttp2(usize),
    /// Streams that together have 4,000 events/s, to measure how the cost of an event grows with their
    /// number.
    Growth(usize),
    /// Steady streams, 40 per connection over TLS and HTTP/2.
    Http2(usize),
    /// 1,000 clients disconnect at once while 20 others stay.
    Storm,
    /// Streams as fast as they are read, with one worker and with two.
    TwoWorkersSaturated,
    /// Steady streams, with one worker and with two.
    TwoWorkersSteady,
}

impl Scenario {
    pub const ALL: [Self; 13] = [
        Self::Steady(400),
        Self::Steady(1600),
        Self::Bursts,
        Self::Saturated,
        Self::Large,
        Self::Short,
        Self::Http2(400),
        Self::Idle(5000),
        Self::Idle(9900),
        Self::IdleHttp2(10_000),
        Self::Storm,
        Self::TwoWorkersSaturated,
        Self::TwoWorkersSteady,
    ];

    /// Numbers of streams. The CPU time per event must not grow with them.
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
            Self::TwoWorkersSaturated => "two-workers-saturated".to_owned(),
            Self::TwoWorkersSteady => "two-workers-steady".to_owned(),
        }
    }

    pub fn what(self) -> String {
        match self {
            Self::Steady(streams) => format!("{streams} streams of 20 events/s of 120 B"),
            Self::Bursts => "200 streams of 50 events of 32 B at once, every 200 ms".to_owned(),
            Self::Saturated => "64 streams of events of 120 B as fast as they are taken".to_owned(),
            Self::Large => "8 streams of events of 1 MiB as fast as they are taken".to_owned(),
            Self::Short => {
                "64 keep-alive connections, one chat completion of 8 tokens (11 events) after the other"
                    .to_owned()
            }
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
            Self::TwoWorkersSaturated => {
                "64 streams of events of 120 B as fast as they are taken, one worker and two".to_owned()
            }
            Self::TwoWorkersSteady => "400 streams of 20 events/s of 120 B, one worker and two".to_owned(),
        }
    }

    /// The contenders of this scenario.
    pub fn contenders(self, peers: &[Peer]) -> Vec<Contender> {
        let workers = match self {
            Self::TwoWorkersSaturated | Self::TwoWorkersSteady => 1..=2,
            _ => 1..=1,
        };
        let of = |peer: &Peer| workers.clone().map(|workers| Contender { peer: *peer, workers }).collect();
        peers.iter().filter(|peer| self.includes(**peer)).flat_map::<Vec<_>, _>(of).collect()
    }

    fn includes(self, peer: Peer) -> bool {
        match self {
            Self::TwoWorkersSaturated | Self::TwoWorkersSteady => peer.has_workers(),
            Self::Http2(_) | Self::IdleHttp2(_) => peer.speaks_http2(),
            Self::Idle(_) | Self::Storm => peer != Peer::Direct,
            _ => true,
        }
    }

    pub fn work(self) -> Work {
        let steady = || "/paced/50/120/1".to_owned();
        match self {
            Self::Steady(count) => Work::Slices(Load::Streams(count, steady())),
            Self::Http2(count) => Work::Slices(Load::Http2(count, steady())),
            Self::Growth(count) => Work::Slices(Load::Streams(count, format!("/paced/{}/120/1", count / 4))),
            Self::Bursts => Work::Slices(Load::Streams(200, "/paced/200/32/50".to_owned())),
            Self::Saturated => Work::Slices(Load::Streams(64, "/fast/120".to_owned())),
            Self::Large => Work::Slices(Load::Streams(8, "/fast/1048576".to_owned())),
            Self::Short => Work::Slices(Load::Short(64, chat::PATH.to_owned())),
            Self::Idle(count) => Work::Idle(Load::Streams(count, "/idle".to_owned())),
            Self::IdleHttp2(count) => Work::Idle(Load::Http2(count, "/idle".to_owned())),
            Self::Storm => Work::Storm,
            Self::TwoWorkersSaturated => Work::Slices(Load::Skimmed(64, "/flood".to_owned())),
            Self::TwoWorkersSteady => Work::Slices(Load::Streams(400, steady())),
        }
    }

    /// The reported figures.
    pub fn columns(self) -> &'static [&'static str] {
        const PACED: &[&str] = &[CPU, ADDED_P50, ADDED_P99, P50, P99, BROKEN];
        match self {
            Self::Steady(_) | Self::Bursts | Self::Growth(_) | Self::Http2(_) => PACED,
            Self::Saturated => &[CPU, ADDED_P50, ADDED_P99, P50, P99, GATHERED, RATE, BROKEN],
            Self::Large => &[CPU, MEGABYTES, BROKEN],
            Self::Short => &[CPU_STREAM, STREAM_RATE, BROKEN],
            Self::Idle(_) | Self::IdleHttp2(_) => &[MEMORY, BROKEN],
            Self::Storm => &[CLOSES, CLOSES_P99, GAP_BEFORE, GAP_AFTER, BROKEN],
            Self::TwoWorkersSaturated => &[RATE, CPU, BACKEND_CPU, CLIENT_CPU, BROKEN],
            Self::TwoWorkersSteady => &[CPU, P50, P99, BACKEND_CPU, CLIENT_CPU, BROKEN],
        }
    }
}
