//! Request smuggling: each ambiguous request is either rejected, or reaches the backend in an unambiguous form.

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

/// The number of concurrent cases, each with its own proxy and backend. They mostly wait.
const LANES: usize = 16;

/// The result of a case.
struct Told {
    heard: Heard,
    /// The complete requests that the backend got, or the ambiguities in them.
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
        // The backend accepts connections in order. Once the canary has arrived, so has everything of the case.
        let mut seen = self.recorder.seen().await?;
        seen.retain(|read| !matches!(read, Ok(request) if request.target == CANARY));
        Ok(Told { heard, seen })
    }

    /// Checks that the proxy still serves requests.
    async fn canary(&self) -> Result<(), String> {
        let request = format!("GET {CANARY} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        let case = Case::new("a canary", request, Fate::Forwarded);
        // On a busy machine the proxy's short timeouts can close a connection before the request is written.
        for _ in 0..10 {
            let statuses = wire::talk(self.proxy.address(), &case).await.statuses();
            match statuses[..] {
                [200] => return Ok(()),
                [] | [408] => {}
                _ => return Err(format!("the next request was answered with {statuses:?}")),
            }
        }
        Err("the next request was not answered".to_owned())
    }
}

const CANARY: &str = "/canary";

/// Runs the cases, and maps the result of each with `make`.
async fn each<T: Send + 'static>(
    kind: Kind,
    timeouts: Timeouts,
    cases: Vec<Case>,
    make: fn(Case, Result<Told, String>) -> T,
) -> Vec<T> {
    let queue = Arc::new(Mutex::new(cases));
    // Sequentially, so that no other peer takes the free port in between.
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
async fn no_request_is_smuggled_in_a_head() {
    run(cases::all(), Timeouts::Short).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_smuggled_after_a_broken_body() {
    run(bodies::all(), Timeouts::Long).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_smuggled_in_http2_frames() {
    run(frames::all(), Timeouts::Short).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_connection_with_an_invalid_preface_is_closed() {
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
