//! Runs each stream of the table through sidestream over HTTP/1.1 and HTTP/2, and checks the response and the access log.

mod backend;
mod clients;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::backend::{Running, Table, length};
use self::clients::{Protocol, Received, ask};
use crate::kit::{Backend, Sidestream, log_lines};
use crate::session::streams::{End, FirstToken, Framing, Kind, Row, Seen, rows};

/// The number of concurrent rows.
const AT_ONCE: usize = 64;

/// The differences between the head of a response and what the row expects.
fn head_complaints(row: &Row, received: &Received) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut compare = |what: &str, found: String, expected: String| {
        if found != expected {
            complaints.push(format!("{}: {what} is {found}, not {expected}", row.name));
        }
    };
    let status = row.head.status.split(' ').next().unwrap_or_default();
    compare("the status", received.status.to_string(), status.to_owned());
    let types = received.values("content-type");
    match row.head.kind {
        // If the first type is another one, sidestream replaces it: some clients look only at the first.
        Kind::Events if !row.head.says_events_first() => {
            compare("the type", format!("{types:?}"), format!("{:?}", ["text/event-stream"]));
        }
        _ => compare("the type", format!("{types:?}"), format!("{:?}", row.head.content_types)),
    }
    let length = match (row.head.kind, row.head.framing) {
        (Kind::Opaque, Framing::Length) => vec![length(row).to_string()],
        _ => Vec::new(),
    };
    compare("the length", format!("{:?}", received.values("content-length")), format!("{length:?}"));
    let buffering = if row.head.kind == Kind::Opaque { Vec::new() } else { vec!["no"] };
    compare(
        "X-Accel-Buffering",
        format!("{:?}", received.values("x-accel-buffering")),
        format!("{buffering:?}"),
    );
    complaints
}

/// The result of a row, from the response and its line in the access log.
fn seen(received: Received, line: &Value) -> Seen {
    let text = |name: &str| line[name].as_str().map(str::to_owned);
    let count = |name: &str| line[name].as_u64();
    let token = line["time_to_first_token"].as_f64();
    Seen {
        body: received.body,
        close: received.close,
        outcome: text("outcome").unwrap_or_default(),
        code: text("error.type"),
        first_token: token.map_or(FirstToken::Never, |_| FirstToken::Sometime),
        usage: (count("gen_ai.usage.input_tokens"), count("gen_ai.usage.output_tokens")),
    }
}

/// One sidestream for each set of keys, each with its own access log.
async fn proxies(
    backend: &Backend,
    table: &Table,
    folder: &Path,
) -> HashMap<String, (Arc<Sidestream>, PathBuf)> {
    let mut proxies = HashMap::new();
    for running in table.values() {
        let keys = keys(&running.row);
        if proxies.contains_key(&keys) {
            continue;
        }
        let log = folder.join(format!("{}.json", proxies.len()));
        let proxy = Sidestream::before(&backend.url).access_log(&log).stream(&keys).start().await;
        proxies.insert(keys, (Arc::new(proxy), log));
    }
    proxies
}

/// The keys of a row, with short timeouts for rows that stall.
fn keys(row: &Row) -> String {
    match row.end {
        End::Stall => [row.keys, "idle_timeout: 5s", "first_event_timeout: 5s"]
            .join(", ")
            .trim_start_matches(", ")
            .to_owned(),
        _ => row.keys.to_owned(),
    }
}

/// Runs all rows. Returns the differences from what they expect.
async fn run(protocol: Protocol) -> Vec<String> {
    let running = |(number, row): (usize, Row)| {
        (format!("row-{number}"), Running { row, has_received: Semaphore::new(0) })
    };
    let table: Table = Arc::new(rows().into_iter().enumerate().map(running).collect());
    let folder = TempDir::new().expect("a folder");
    let backend = backend::backend(table.clone()).await;
    let proxies = proxies(&backend, &table, folder.path()).await;
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let (mut tasks, mut names) = (JoinSet::new(), HashMap::new());
    for (id, running) in table.iter() {
        let (id, table, places) = (id.clone(), table.clone(), places.clone());
        let proxy = proxies[&keys(&running.row)].0.clone();
        let task = tasks.spawn(async move {
            // A stalled row only waits, so it does not count against the limit.
            let is_stall = table[&id].row.end == End::Stall;
            let _place = if is_stall { None } else { places.acquire().await.ok() };
            let received = ask(protocol, &proxy, &id, &table[&id]).await;
            (id, received)
        });
        names.insert(task.id(), running.row.name.clone());
    }
    let (mut complaints, mut received) = (Vec::new(), HashMap::new());
    while let Some(done) = tasks.join_next().await {
        match done {
            Ok((id, what)) => drop(received.insert(id, what)),
            Err(error) => complaints.push(format!("{}: {error}", names[&error.id()])),
        }
    }
    for (keys_of_proxy, (_proxy, log)) in &proxies {
        let count = table.values().filter(|running| keys(&running.row) == *keys_of_proxy).count();
        for line in log_lines(log, count).await {
            let id = line["request_id"].as_str().unwrap_or_default();
            let Some(received) = received.remove(id) else { continue };
            let row = &table[id].row;
            complaints.extend(head_complaints(row, &received));
            complaints.extend(row.complaints(&seen(received, &line)));
        }
    }
    complaints
        .extend(received.keys().map(|id| format!("{}: it is not in the access log", table[id].row.name)));
    complaints
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_stream_of_the_table_gives_the_expected_response_over_http1() {
    let complaints = run(Protocol::Http1).await;
    assert!(complaints.is_empty(), "{} differences:\n{}", complaints.len(), complaints.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_stream_of_the_table_gives_the_expected_response_over_http2() {
    let complaints = run(Protocol::Http2).await;
    assert!(complaints.is_empty(), "{} differences:\n{}", complaints.len(), complaints.join("\n"));
}
