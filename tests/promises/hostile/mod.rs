//! Requests that are meant to be read in two ways: each is refused, or reaches the backend in a form that has one meaning.

mod bodies;
mod case;
mod cases;
mod chunks;
mod connections;
mod frame;
mod frames;
mod framing;
mod peers;
mod prefaces;
mod proxy;
mod recorder;
mod table;
mod verdict;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::kit::strict::Request;
use case::{Case, Fate};
use proxy::{Kind, Proxy, Timeouts};
use recorder::Recorder;
use wire::Heard;

/// Cases that run at once, each on a proxy and a backend of its own. Most of the time they wait.
const LANES: usize = 16;

/// What became of a case.
struct Told {
    heard: Heard,
    /// Whole requests at the backend, and what it was left in doubt by.
    seen: Vec<Result<Request, String>>,
}

/// A proxy in front of a recorder.
struct Lane {
    proxy: Proxy,
    recorder: Recorder,
}

impl Lane {
    async fn run(&mut self, case: &Case) -> Result<Told, String> {
        let heard = wire::talk(self.proxy.address(), case).await;
        self.proxy.settled().await?;
        self.canary().await?;
        // The backend has taken the canary's connection last: what this one brings is what the case did not.
        let mut seen = self.recorder.seen().await?;
        seen.retain(|read| !matches!(read, Ok(request) if request.target == CANARY));
        Ok(Told { heard, seen })
    }

    /// Whether the proxy still serves.
    async fn canary(&self) -> Result<(), String> {
        let request = format!("GET {CANARY} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        let heard = wire::talk(self.proxy.address(), &Case::new("a canary", request, Fate::Forwarded)).await;
        let statuses = heard.statuses();
        if statuses == [200] { Ok(()) } else { Err(format!("the next request was answered {statuses:?}")) }
    }
}

const CANARY: &str = "/canary";

/// Runs cases, and makes something of what became of each.
async fn each<T: Send + 'static>(
    kind: Kind,
    timeouts: Timeouts,
    cases: Vec<Case>,
    make: fn(Case, Result<Told, String>) -> T,
) -> Vec<T> {
    let queue = Arc::new(Mutex::new(cases));
    // One after the other, so that a port that was free for a peer is free still when it takes it.
    let mut lanes = Vec::new();
    for _ in 0..LANES {
        let recorder = Recorder::start().await;
        let proxy = Proxy::start(kind, timeouts, &recorder.backend).await;
        lanes.push(Lane { proxy, recorder });
    }
    let mut running = Vec::new();
    for mut lane in lanes {
        let queue = queue.clone();
        running.push(tokio::spawn(async move {
            let mut made = Vec::new();
            loop {
                let next = queue.lock().expect("no panic").pop();
                let Some(case) = next else { return made };
                let told = lane.run(&case).await;
                made.push(make(case, told));
            }
        }));
    }
    let mut made = Vec::new();
    for lane in running {
        made.extend(lane.await.expect("a lane"));
    }
    made
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_read_in_two_ways() {
    run(cases::all(), Timeouts::Short).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_after_a_body_that_is_broken_is_a_request() {
    run(bodies::all(), Timeouts::Long).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_frame_becomes_what_it_is_not() {
    run(frames::all(), Timeouts::Short).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_does_not_begin_as_http2_must_is_closed() {
    run(prefaces::all(), Timeouts::Long).await;
}

async fn run(cases: Vec<Case>, timeouts: Timeouts) {
    println!("{} cases", cases.len());
    let wrong = each(Kind::Sidestream, timeouts, cases, |case, told| {
        let what = told.and_then(|told| verdict::check(&case, &told.heard, told.seen)).err()?;
        Some((case.kind, format!("{} ({:?}): {what}", case.name, case.fate)))
    });
    let (mut kinds, mut lines) = (BTreeMap::<_, usize>::new(), Vec::new());
    for (kind, line) in wrong.await.into_iter().flatten() {
        *kinds.entry(kind).or_default() += 1;
        lines.push(line);
    }
    lines.sort_unstable();
    assert!(lines.is_empty(), "{} cases:\n{}\nby kind: {kinds:#?}", lines.len(), lines.join("\n"));
}
