//! Ten thousand requests of every kind: the counters add up, the number of series stays constant, and every
//! request has a log line.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Notify;

use crate::kit::{Backend, Client, Exchange, LAST_CHUNK, STREAM_HEAD, Sidestream, Within, chunk, until};

const REQUESTS: usize = 10_000;
/// Number of concurrent clients.
const CLIENTS: usize = 50;

/// What the backend does with a request, by the first segment of its path.
const KINDS: [&str; 10] = [
    "completes",
    "breaks",
    "resets",
    "truncates",
    "garbles",
    "stalls",
    "refuses",
    "reports",
    "leaves-in-prefill",
    "leaves",
];

/// Signals each client that its request has reached the point at which the client leaves.
type Arrived = Arc<[Notify; CLIENTS]>;

async fn backend(arrived: Arrived) -> Backend {
    Backend::script(move |exchange| serve(exchange, arrived.clone())).await
}

async fn serve(mut exchange: Exchange, arrived: Arrived) {
    while let Some(head) = exchange.whole_request().await {
        let mut path = head.split(['/', ' ']).skip(2);
        let kind = path.next().expect("a kind").to_owned();
        let token = chunk("data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n");
        let begin = [STREAM_HEAD.as_bytes(), &token].concat();
        match kind.as_str() {
            "completes" => {
                exchange.send([&begin[..], &chunk("data: [DONE]\n\n"), LAST_CHUNK.as_bytes()].concat()).await;
            }
            "truncates" => exchange.send([&begin[..], LAST_CHUNK.as_bytes()].concat()).await,
            "reports" => {
                let error = chunk("data: {\"error\":{\"message\":\"m\"}}\n\n");
                exchange.send([&begin[..], &error, LAST_CHUNK.as_bytes()].concat()).await;
            }
            "refuses" => exchange.send("HTTP/1.1 429 Slow Down\r\nContent-Length: 0\r\n\r\n").await,
            "breaks" => return exchange.send(&begin[..]).await,
            "garbles" => return exchange.send([&begin[..], b"garbage\r\n"].concat()).await,
            "resets" => {
                exchange.send(&begin[..]).await;
                return exchange.reset();
            }
            "leaves-in-prefill" => {
                let digits =
                    path.next().and_then(|number| number.split(|c: char| !c.is_ascii_digit()).next());
                let number: usize = digits.and_then(|digits| digits.parse().ok()).expect("a number");
                arrived[number % CLIENTS].notify_one();
                return exchange.closed().await;
            }
            _ => {
                exchange.send(&begin[..]).await;
                return exchange.closed().await;
            }
        }
    }
}

/// Values that a hostile client might send.
fn hostile(number: usize) -> String {
    let long = "y".repeat(if number.is_multiple_of(100) { 8 * 1024 } else { 10 });
    let evil = ["\",\"outcome\":\"forged\"}", "\\\" \\n", "\u{1b}[31m\t", "\u{2028}é\u{fffd}", "{}\\u000a"];
    format!("{number}{}{long}", evil[number % evil.len()])
}

async fn ask(proxy: std::net::SocketAddr, number: usize, arrived: &[Notify; CLIENTS]) {
    let kind = KINDS[number % KINDS.len()];
    let hostile = hostile(number);
    let body = serde_json::json!({ "model": hostile, "stream": true }).to_string();
    let path: String = hostile.chars().filter(|c| c.is_ascii_graphic() && *c != '#').collect();
    let field: String = hostile.chars().filter(|c| !c.is_control() || *c == '\t').collect();
    let mut client = Client::connect(proxy).await;
    let length = body.len();
    client
        .send(format!(
            "POST /{kind}/{path} HTTP/1.1\r\nHost: t\r\nUser-Agent: {field}\r\nX-Request-Id: {field}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ))
        .await;
    match kind {
        "leaves-in-prefill" => arrived[number % CLIENTS].notified().soon().await,
        "leaves" => {
            client.response().await;
            client.chunk().await;
        }
        _ => {
            if client.response().await.field("transfer-encoding").is_some() {
                client.text().await;
            }
        }
    }
}

/// The value of each series.
async fn series(proxy: &Sidestream) -> HashMap<String, f64> {
    let text = proxy.scrape().await;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, value)| (name.to_owned(), value.parse().expect("a number")))
        .collect()
}

/// The series once this many requests have ended. The end of an abandoned request is noticed with a delay.
async fn settled(proxy: &Sidestream, requests: usize) -> HashMap<String, f64> {
    let settled = async {
        loop {
            let series = series(proxy).await;
            #[allow(clippy::cast_precision_loss)]
            if (sum(&series, "sidestream_requests_total") - requests as f64).abs() < f64::EPSILON {
                return series;
            }
        }
    };
    settled.soon().await
}

fn sum(series: &HashMap<String, f64>, name: &str) -> f64 {
    sum_of(series, name, "")
}

/// `label` includes its value.
fn sum_of(series: &HashMap<String, f64>, name: &str, label: &str) -> f64 {
    let is_of = |key: &str| key.split('{').next() == Some(name) && key.contains(label);
    series.iter().filter(|(key, _)| is_of(key)).map(|(_, value)| value).sum()
}

fn log_lines(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).expect("the log");
    text.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_log_account_for_ten_thousand_requests() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let arrived: Arrived = Arc::new([const { Notify::const_new() }; CLIENTS]);
    let backend = backend(arrived.clone()).await;
    let more = "routes:\n- { match: { path: /stalls/ }, upstream: llm, stream: { idle_timeout: 100ms } }\n\
                - { upstream: llm }\nmetrics: { models: [known] }";
    let proxy = Sidestream::before(&backend.url).access_log(&log).more(more).start().await;
    for number in 0..KINDS.len() {
        ask(proxy.address, number, &arrived).await;
    }
    let at_first = settled(&proxy, KINDS.len()).await.len();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (address, numbers) = (proxy.address, (KINDS.len() + client..REQUESTS).step_by(CLIENTS));
            let arrived = arrived.clone();
            tokio::spawn(async move {
                for number in numbers {
                    ask(address, number, &arrived).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("a client that goes through");
    }
    let series = settled(&proxy, REQUESTS).await;

    let outcomes = sum(&series, "sidestream_streams_total");
    let (started, active) =
        (sum(&series, "sidestream_streams_started_total"), sum(&series, "sidestream_streams_active"));
    assert!((started - outcomes - active).abs() < f64::EPSILON, "{started} = {outcomes} + {active}");
    assert!(active.abs() < f64::EPSILON && sum(&series, "sidestream_streams_waiting").abs() < f64::EPSILON);
    // All requests except those with an error status were streams.
    let refused = sum_of(&series, "sidestream_requests_total", "status=\"429\"");
    #[allow(clippy::cast_precision_loss)]
    let requests = REQUESTS as f64;
    assert!((started + refused - requests).abs() < f64::EPSILON, "{started} + {refused}");
    let outcome = |name: &str| sum_of(&series, "sidestream_streams_total", &format!("outcome=\"{name}\""));
    let tenth = requests / 10.0;
    for (name, count) in [("completed", tenth), ("upstream_truncated", tenth), ("idle_timeout", tenth)] {
        assert!((outcome(name) - count).abs() < f64::EPSILON, "{name}: {}", outcome(name));
    }
    // A reset may discard the event sent before it; then the response is not a stream yet.
    assert!(
        (outcome("upstream_reset") + outcome("upstream_error") - 4.0 * tenth).abs() < f64::EPSILON,
        "{series:?}"
    );
    assert!((outcome("client_gone") - 2.0 * tenth).abs() < f64::EPSILON, "{}", outcome("client_gone"));

    // The clients used ten thousand models, paths and user agents. The new series are for a status that
    // occurred later.
    assert!(series.len() <= at_first + 5, "{at_first} series became {}", series.len());
    assert!(series.keys().all(|name| !name.contains("yyyy")), "{:?}", series.keys());

    let written = until(async || Some(log_lines(&log)).filter(|lines| lines.len() >= REQUESTS));
    let lines = written.soon().await;
    assert_eq!(lines.len(), REQUESTS);
    for line in lines {
        let line: Value = serde_json::from_str(&line).expect("a line of JSON");
        assert_ne!(line["outcome"], "forged");
        assert!(line["url.path"].is_string() && line["timestamp"].is_string(), "{line}");
    }
}
