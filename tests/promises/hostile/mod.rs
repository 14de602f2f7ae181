//! Requests that are meant to be read in two ways: each is refused, or reaches the backend in a form that has one meaning.

mod cases;
mod frames;
mod strict;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::support::{Sidestream, Within};
use cases::{Case, Fate};
use strict::Request;

/// Cases that run at once, each on a sidestream and a backend of its own.
const LANES: usize = 8;

/// How long a client waits for more after an answer.
const QUIET: Duration = Duration::from_millis(150);

/// A backend that reads as the strictest server would, answers one request, and keeps what it has read.
struct Recorder {
    proxy: Sidestream,
    seen: mpsc::UnboundedReceiver<Option<Result<Request, String>>>,
    /// Connections to the backend so far; each tells once what it has seen.
    connections: Arc<AtomicUsize>,
    told: usize,
}

impl Recorder {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (say, seen) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let say = say.clone();
                tokio::spawn(async move {
                    let _ = say.send(record(tcp).await);
                });
            }
        });
        let proxy = Sidestream::configured(&format!(
            "listeners: [{{ address: 127.0.0.1:0, header_timeout: 200ms, keepalive_timeout: 100ms }}]\n\
             admin: {{ address: 127.0.0.1:0 }}\naccess_log: off\n\
             upstreams: {{ llm: {{ servers: [http://{address}], keepalive_idle: off }} }}\n\
             stream: {{ first_event_timeout: 400ms }}\n"
        ))
        .await;
        Self { proxy, seen, connections, told: 0 }
    }

    /// Runs a case, and says what is wrong with what became of it.
    async fn run(&mut self, case: &Case) -> Result<(), String> {
        let answers = send(&self.proxy, &case.bytes).await;
        self.proxy.reaches("sidestream_connections_open", 0.0).await;
        // The proxy still serves: what this one brings is what the case did not.
        let canary =
            send(&self.proxy, b"GET /canary HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await;
        if canary != [200] {
            return Err(format!("the next request was answered {canary:?}"));
        }
        let mut requests = Vec::new();
        // The backend has taken the canary's connection last.
        while self.told < self.connections.load(Ordering::SeqCst) {
            self.told += 1;
            match self.seen.recv().soon().await.expect("a backend") {
                Some(Ok(request)) if request.target == "/canary" => {}
                Some(Ok(request)) => requests.push(request),
                Some(Err(doubt)) => return Err(format!("the backend was left in doubt: {doubt}")),
                None => {}
            }
        }
        for request in &requests {
            // A query or fragment apart, the target is the one that was asked for.
            let is_smuggled =
                request.target.contains("/smuggled") || !request.values("x-smuggled").is_empty();
            if is_smuggled && !case.name.starts_with("Connection: ") {
                return Err(format!("smuggled: {request:?}"));
            }
        }
        // Answers over HTTP/2 are not read; what the backend saw is what counts.
        let is_refused = requests.is_empty() && answers.iter().all(|status| (400..600).contains(status));
        let is_forwarded = requests.len() == 1 && answers.iter().all(|status| *status == 200);
        let is_right = match case.fate {
            Fate::Refused => is_refused,
            Fate::Forwarded => is_forwarded,
            Fate::Safe => requests.len() <= 1,
            Fate::Any => true,
            Fate::Pipelined(count) => requests.len() == count,
        };
        if is_right { Ok(()) } else { Err(format!("answered {answers:?}, seen {requests:?}")) }
    }
}

/// Reads one request, answers it, and reads on: whatever else comes is a doubt. `None`: nothing that is whole came.
async fn record(mut tcp: TcpStream) -> Option<Result<Request, String>> {
    let mut bytes = Vec::new();
    let (request, length) = loop {
        match strict::read(&bytes) {
            Err(doubt) => return Some(Err(doubt)),
            Ok(Some(read)) => break read,
            Ok(None) => {}
        }
        if tcp.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return None;
        }
    };
    let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
    let _ = tcp.shutdown().await;
    let _ = tcp.read_to_end(&mut bytes).await;
    match bytes.len() == length {
        true => Some(Ok(request)),
        false => Some(Err(format!("more than a request: {:?}", String::from_utf8_lossy(&bytes[length..])))),
    }
}

/// Sends bytes, and returns the statuses of the answers.
async fn send(proxy: &Sidestream, bytes: &[u8]) -> Vec<u16> {
    let tcp = TcpStream::connect(proxy.address).await.expect("a connection");
    let (mut read, mut write) = tcp.into_split();
    let bytes = bytes.to_vec();
    // It may be refused before all of it is sent.
    let sending = tokio::spawn(async move {
        let _ = write.write_all(&bytes).await;
        write
    });
    let mut answer = Vec::new();
    loop {
        // Before the first answer there may be a timeout of the proxy to wait for.
        let patience = if answer.is_empty() { crate::support::GENEROUS } else { QUIET };
        match tokio::time::timeout(patience, read.read_buf(&mut answer)).await {
            Ok(Ok(n)) if n > 0 => {}
            _ => break,
        }
    }
    sending.abort();
    let text = String::from_utf8_lossy(&answer);
    text.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)?.parse().ok()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_read_in_two_ways() {
    run(cases::all()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_frame_becomes_what_it_is_not() {
    run(frames::all()).await;
}

async fn run(cases: Vec<Case>) {
    println!("{} cases", cases.len());
    let (queue, lanes) = (Arc::new(std::sync::Mutex::new(cases)), LANES);
    let mut running = Vec::new();
    for _ in 0..lanes {
        let queue = queue.clone();
        running.push(tokio::spawn(async move {
            let mut recorder = Recorder::start().await;
            let mut wrong = Vec::new();
            loop {
                let next = queue.lock().expect("no panic").pop();
                let Some(case) = next else { return wrong };
                if let Err(what) = recorder.run(&case).await {
                    wrong.push(format!("{} ({:?}): {what}", case.name, case.fate));
                }
            }
        }));
    }
    let mut wrong = Vec::new();
    for lane in running {
        wrong.extend(lane.await.expect("a lane"));
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}
