//! The accuracy of logged times, compared with those that a client measures.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::backend::{APART, Backend, FIRST_CONTENT, FIRST_EVENT};
use crate::client::Client;
use crate::numbers::{Sample, ms};
use crate::proxy::Proxy;

const STREAMS: usize = 200;
/// Streams before the measurement, to warm up the process.
const WARM_UP: usize = 10;
/// The interval between streams. A burst would measure the scheduler of the machine.
const PACE: Duration = Duration::from_millis(10);

pub async fn measure() {
    let backend = Backend::start().await;
    println!("\n## Times that sidestream logs, compared with those that a client measures\n");
    println!(
        "{STREAMS} streams each, with this pause before the head, the first event and the first token.\n"
    );
    println!(
        "| pause | difference at the first event, median | p99 | at the first token, median | p99 |\n|---|---|---|---|---|"
    );
    for apart in [5, 50, 200, 1000] {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("access.log");
        let proxy = Proxy::sidestream_with(backend.address, "", &format!("{{ path: {} }}", log.display()));
        let mut measured = HashMap::new();
        for number in 0..WARM_UP {
            stream(proxy.address, &format!("{APART}/5/warm-{number}")).await;
        }
        let mut streams = Vec::new();
        for number in 0..STREAMS {
            let path = format!("{APART}/{apart}/{number}");
            streams.push(tokio::spawn(async move { (path.clone(), stream(proxy.address, &path).await) }));
            tokio::time::sleep(PACE).await;
        }
        for stream in streams {
            let (path, times) = stream.await.expect("a stream");
            measured.insert(path, times);
        }
        let (events, tokens) = differences(&logged(&log).await, &measured);
        let off = |sample: &Sample| format!("{} | {}", ms(sample.percentile(50)), ms(sample.percentile(99)));
        println!("| {apart} ms | {} | {} |", off(&events), off(&tokens));
    }
}

/// The times to the first event and to the first token, as the client measures them.
async fn stream(address: SocketAddr, path: &str) -> [Duration; 2] {
    let mut client = Client::connect(address).await;
    let started = Instant::now();
    client.ask(path).await;
    let mut seen = Vec::new();
    let mut times = Vec::new();
    for wanted in [FIRST_EVENT, FIRST_CONTENT, "\r\n0\r\n\r\n"] {
        while memchr::memmem::find(&seen, wanted.as_bytes()).is_none() {
            let bytes = client.read().await;
            assert!(!bytes.is_empty(), "the stream broke");
            seen.extend_from_slice(bytes);
        }
        times.push(started.elapsed());
    }
    [times[0], times[1]]
}

/// The log lines by path. Waits until all are written.
async fn logged(log: &std::path::Path) -> HashMap<String, Value> {
    loop {
        let text = std::fs::read_to_string(log).expect("the log");
        if text.lines().count() >= WARM_UP + STREAMS && text.ends_with('\n') {
            let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
            return lines.map(|line| (line["url.path"].as_str().expect("a path").to_owned(), line)).collect();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The absolute differences between logged and measured times.
fn differences(
    logged: &HashMap<String, Value>,
    measured: &HashMap<String, [Duration; 2]>,
) -> (Sample, Sample) {
    let off = |name: &str, index: usize| {
        let one = |(path, times): (&String, &[Duration; 2])| {
            let seconds = logged[path][name].as_f64().expect("a time");
            times[index].abs_diff(Duration::from_secs_f64(seconds))
        };
        Sample::new(measured.iter().map(one).collect())
    };
    (off("time_to_first_event", 0), off("time_to_first_token", 1))
}
