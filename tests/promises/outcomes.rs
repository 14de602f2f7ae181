//! Every failure, provoked over real sockets: what the client gets, and what the access log and the metrics say about it.

mod scenarios;

use std::future::Future;
use std::pin::Pin;

use scenarios::{
    Break, Place, answers_with_an_error_too_late, begun, breaks, connects_too_slowly, ends_too_early, full,
    no_descriptors, no_server, outlives_the_process, stalls, too_many_streams, unreachable, uploads,
    wait_for_an_event,
};
use serde_json::Value;
use sidestream::outcome::{EndedBy, Failure};
use tempfile::TempDir;

use crate::kit::log_lines;

/// How one failure shows in one place.
struct Row {
    failure: Failure,
    /// The status that the client gets, and the code in the body of the response or in the error event.
    status: u16,
    code: &'static str,
    outcome: &'static str,
    ended_by: EndedBy,
    phase: &'static str,
    /// Makes the failure happen, and returns the status and the code that the client got.
    provoke: fn(Place) -> Provoked,
}

type Provoked = Pin<Box<dyn Future<Output = (u16, String)>>>;

/// A row: the failure, what the client gets, what the log says, and the scenario.
macro_rules! rows {
    ($($failure:ident: $status:literal $code:literal, $outcome:literal $ended_by:ident $phase:literal, $scenario:expr;)+) => {
        vec![$(Row {
            failure: Failure::$failure,
            status: $status,
            code: $code,
            outcome: $outcome,
            ended_by: EndedBy::$ended_by,
            phase: $phase,
            provoke: |place| Box::pin(($scenario)(place)),
        },)+]
    };
}

fn rows() -> Vec<Row> {
    let mut rows = before_the_head();
    rows.extend(inside_a_stream());
    rows
}

fn before_the_head() -> Vec<Row> {
    rows! {
        NoResources: 503 "overloaded", "shed" Proxy "connecting", no_descriptors;
        QueueFull: 503 "queue_full", "shed" Proxy "connecting", |place| full(place, "max_streams: 1");
        QueueTimeout: 503 "queue_timeout", "shed" Proxy "queued",
            |place| full(place, "max_streams: 1, queue: { size: 1, timeout: 100ms }");
        NoServer: 503 "no_server", "shed" Proxy "connecting", no_server;
        TooManyStreams: 429 "too_many_streams", "shed" Proxy "connecting", too_many_streams;
        LookupFailed: 502 "dns_failed", "upstream_error" Backend "connecting",
            |place| unreachable(place, "http://nowhere.invalid:80");
        ConnectFailed: 502 "upstream_connect_failed", "upstream_error" Backend "connecting",
            |place| unreachable(place, "unix:/nowhere/backend.sock");
        ConnectTimeout: 504 "upstream_connect_timeout", "upstream_error" Proxy "connecting", connects_too_slowly;
        Reset: 502 "upstream_reset", "upstream_reset" Backend "prefill", |place| breaks(place, Break::Reset, "");
        Closed: 502 "upstream_closed", "upstream_reset" Backend "prefill", |place| breaks(place, Break::Close, "");
        Invalid: 502 "upstream_invalid", "upstream_error" Backend "prefill",
            |place| breaks(place, Break::Close, "this is not HTTP\r\n\r\n");
        FirstEventTimeout: 504 "first_event_timeout", "first_event_timeout" Proxy "prefill",
            |place| stalls(place, "first_event_timeout: 100ms", "");
        MaxDuration: 504 "max_duration", "max_duration" Proxy "prefill", |place| stalls(place, "max_duration: 100ms", "");
        ShuttingDown: 503 "shutting_down", "shed" Proxy "prefill", |place| outlives_the_process(place, "");
        MalformedBody: 400 "malformed_body", "client_gone" Client "prefill",
            |place| uploads(place, "Transfer-Encoding: chunked", "not a size\r\n");
        BodyTooLarge: 413 "body_too_large", "client_gone" Client "prefill",
            |place| uploads(place, "Transfer-Encoding: chunked", format!("7d0\r\n{}\r\n", "x".repeat(2000)));
        BodyTimeout: 408 "body_timeout", "client_gone" Client "prefill",
            |place| uploads(place, "Content-Length: 10", "half");
    }
}

fn inside_a_stream() -> Vec<Row> {
    rows! {
        Reset: 200 "upstream_reset", "upstream_reset" Backend "streaming", |place| breaks(place, Break::Reset, begun());
        Closed: 200 "upstream_closed", "upstream_reset" Backend "streaming", |place| breaks(place, Break::Close, begun());
        Invalid: 200 "upstream_invalid", "upstream_error" Backend "streaming",
            |place| breaks(place, Break::Close, [begun(), b"not a size\r\n".to_vec()].concat());
        Truncated: 200 "upstream_truncated", "upstream_truncated" Backend "streaming",
            ends_too_early;
        IdleTimeout: 200 "idle_timeout", "idle_timeout" Proxy "streaming",
            |place| stalls(place, "idle_timeout: 100ms", begun());
        FirstEventTimeout: 200 "first_event_timeout", "first_event_timeout" Proxy "streaming",
            |place| stalls(place, "dialect: openai, first_event_timeout: 100ms", wait_for_an_event());
        MaxDuration: 200 "max_duration", "max_duration" Proxy "streaming",
            |place| stalls(place, "max_duration: 300ms", begun());
        ShuttingDown: 200 "shutting_down", "shed" Proxy "streaming", |place| outlives_the_process(place, begun());
        Status: 200 "upstream_status_429", "upstream_error" Backend "streaming", answers_with_an_error_too_late;
    }
}

/// Failures whose scenario is another test's, because it needs what a test in parallel with others cannot have.
fn is_tested_elsewhere(failure: Failure) -> bool {
    match failure {
        // A name server that never answers: `make networks`.
        Failure::LookupTimeout => true,
        // gRPC has statuses of its own: `grpc_failures`.
        Failure::GrpcOverHttp1 => true,
        _ => false,
    }
}

#[tokio::test]
async fn each_failure_has_its_status_code_outcome_and_log_line() {
    let mut differences = Vec::new();
    for row in rows() {
        let name = format!("{:?} ({})", row.failure, row.phase);
        let folder = TempDir::new().expect("a folder");
        let log = folder.path().join("access.log");
        let seen = (row.provoke)(Place { log: log.clone() }).await;
        let lines = log_lines(&log, 1).await;
        let line = lines.into_iter().find(|line| line["error.type"] == row.code).unwrap_or_default();
        if seen != (row.status, row.code.to_owned()) {
            differences.push(format!("{name}: the client got {seen:?}"));
        }
        for (field, value) in [
            ("http.response.status_code", Value::from(row.status)),
            ("outcome", row.outcome.into()),
            ("ended_by", row.ended_by.as_str().into()),
            ("phase", row.phase.into()),
        ] {
            if line[field] != value {
                differences.push(format!("{name}: {field} is {} in the log, not {value}", line[field]));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn no_failure_is_without_a_row_and_the_table_of_the_documents_agrees_with_each() {
    let rows = rows();
    for failure in Failure::ALL {
        let facts = failure.facts();
        let own: Vec<_> = rows.iter().filter(|row| row.failure == failure).collect();
        assert_eq!(own.is_empty(), is_tested_elsewhere(failure), "{failure:?}");
        for row in own {
            assert!(row.code.starts_with(facts.code), "{failure:?}");
            assert!(row.status == 200 || row.status == facts.status, "{failure:?}");
            assert_eq!((row.outcome, row.ended_by), (facts.outcome, facts.ended_by), "{failure:?}");
        }
    }
}
