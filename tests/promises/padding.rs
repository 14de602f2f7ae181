//! `heartbeat_padding`: heartbeats as large as a hop wants them, and still nothing but comments between events.

use std::time::Duration;

use proptest::prelude::*;
use sidestream::config;
use sidestream::session::{Format, Heartbeats, Policy};

use crate::kit::{Backend, STREAM_HEAD, Sidestream, Step, stream_of};
use crate::protocol_matrix::on_every_combination;
use crate::session::{Beginning, Driven, post};

const EVENT: &str = "data: x\n\n";
const LARGEST: usize = Heartbeats::MAX_PADDING;

fn policy(padding: usize) -> Policy {
    Policy {
        heartbeat: Some(Duration::from_secs(15)),
        heartbeats: Heartbeats::padded(padding),
        first_event_timeout: None,
        idle_timeout: None,
        ..Policy::default()
    }
}

/// Whether these are lines that begin with a colon, short enough for every client and not many.
#[track_caller]
fn are_comments(bytes: &[u8]) {
    let (last, before) = bytes.split_last().expect("a heartbeat");
    assert!([b'\n', b'\r'].contains(last), "it ends its line");
    let lines: Vec<_> = before.split(|&byte| byte == b'\n' || byte == b'\r').collect();
    assert!(lines.iter().all(|line| line.starts_with(b":") && line.len() < 10_000), "{lines:?}");
    assert!(lines.len() <= 8, "{}", lines.len());
}

/// What fills a silence after this event.
fn heartbeat(padding: usize, event: &str) -> String {
    let mut driven = Driven::new(&policy(padding));
    driven.backend(event).passes(Duration::from_secs(16));
    assert_eq!(driven.payload, event.as_bytes(), "whole events, and only heartbeats beside them");
    driven.heartbeats.pop().expect("a heartbeat")
}

#[test]
fn each_heartbeat_is_so_much_longer_and_a_comment() {
    for padding in [1, 2, 100, 4096, 8191, 8192, 8193, 8194, 16_384, 16_385, LARGEST - 1, LARGEST] {
        for event in [EVENT, "data: x\r\r", "data: x\r\n\r\n"] {
            let padded = heartbeat(padding, event);
            assert_eq!(padded.len(), heartbeat(0, event).len() + padding);
            assert!(padded.starts_with(": heartbeat"));
            are_comments(padded.as_bytes());
        }
    }
}

#[test]
fn without_padding_it_is_what_it_always_was() {
    assert_eq!(heartbeat(0, EVENT), ": heartbeat\n");
    assert_eq!(heartbeat(0, "data: x\r\n\r"), ": heartbeat\r");
    assert_eq!(Policy::default().heartbeats, Heartbeats::padded(0));
}

#[test]
fn a_padded_heartbeat_after_a_cr_leaves_room_for_its_lf() {
    let padded = heartbeat(LARGEST, "data: x\r\n\r");
    assert!(padded.ends_with('\r'));
    are_comments(padded.as_bytes());
}

#[test]
fn what_takes_no_comment_takes_no_padding() {
    let policy = policy(LARGEST);
    let lines = Beginning { format: Format::Lines, ..Beginning::default() };
    let mut driven = Driven::beginning(&policy, lines);
    driven.backend("{\"a\":1}\n").passes(Duration::from_secs(60));
    assert_eq!(driven.written(), "{\"a\":1}\n");

    let mut driven = Driven::beginning(&policy, post("/v1beta/models/m:streamGenerateContent", "{}"));
    driven.passes(Duration::from_secs(15));
    assert_eq!(driven.written(), "\n");
}

proptest! {
    #[test]
    fn wherever_silence_falls_the_events_are_what_they_are_without_it(
        pieces in prop::collection::vec(
            (prop::sample::select(vec!["data: ", "x", "\n", "\r", "\r\n", ": c", "id: 1", EVENT]), 0u64..40), 0..20),
        padding in prop::sample::select(vec![0, 1, 4096, 8193, LARGEST]),
    ) {
        let mut driven = Driven::new(&policy(padding));
        let mut sent = String::new();
        for (piece, pause) in pieces {
            sent.push_str(piece);
            driven.backend(piece).passes(Duration::from_secs(pause));
        }
        prop_assert!(sent.as_bytes().starts_with(&driven.payload), "nothing is changed");
        prop_assert_eq!(events(&driven.written()), events(&String::from_utf8_lossy(&driven.payload)));
        for heartbeat in &driven.heartbeats {
            prop_assert_eq!(heartbeat.len(), ": heartbeat\n".len() + padding);
            are_comments(heartbeat.as_bytes());
        }
    }
}

/// The lines of a stream that are no comments, as a client reads them.
fn events(text: &str) -> Vec<String> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.split('\n').filter(|line| !line.starts_with(':')).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_padded_heartbeat_is_one_chunk() {
    let backend = Backend::that_begins(STREAM_HEAD).await;
    for (written, bytes) in [("4KiB", 4096), ("64KiB", 65_536)] {
        let proxy =
            Sidestream::with(&backend, &format!("heartbeat: 50ms, heartbeat_padding: {written}")).await;
        let mut client = proxy.client().await;
        client.get("/").await;
        for _ in 0..2 {
            let heartbeat = client.chunk().await.expect("a heartbeat");
            assert_eq!(heartbeat.len(), ": heartbeat\n".len() + bytes);
            are_comments(&heartbeat);
        }
        proxy.reaches("sidestream_heartbeats_total{route=\"default\"}", 2.0).await;
        assert!(proxy.metric("sidestream_event_bytes_total{route=\"default\"}").await < 1.0);
    }
}

#[tokio::test]
async fn padded_heartbeats_pass_over_every_protocol() {
    const STEPS: &[Step] =
        &[Step::StreamHead, Step::Send(b"data: 1\n\n"), Step::Wait, Step::Send(b"data: 2\n\n"), Step::End];
    on_every_combination(STEPS, "heartbeat: 50ms, heartbeat_padding: 64KiB", async |_, _, edge, backend| {
        let mut client = edge.connect().await;
        let mut exchange = client.send("GET", "/", None).await;
        exchange.head().await;
        let mut body = Vec::new();
        while body.len() < LARGEST {
            let piece = exchange.piece().await.expect("no break").expect("no end");
            assert_eq!(piece.last(), Some(&b'\n'), "chunks and frames end where lines end");
            body.extend(piece);
        }
        backend.go_on();
        body.extend(exchange.pieces().await.expect("a clean end").concat());
        let text = String::from_utf8(body).expect("text");
        assert_eq!(events(&text), ["data: 1", "", "data: 2", "", ""]);
    })
    .await;
}

#[tokio::test]
async fn early_heartbeats_are_padded_too_and_so_is_the_place_in_the_queue() {
    let backend = Backend::script(|mut exchange| async move {
        while exchange.request().await.is_some() {
            exchange.wait().await;
            exchange.send(stream_of(EVENT)).await;
        }
    })
    .await;
    let proxy = Sidestream::before(&backend.url)
        .upstream("max_streams: 1, queue: { size: 9 }")
        .stream("early_heartbeat: 50ms, heartbeat: 50ms, heartbeat_padding: 4KiB")
        .start()
        .await;
    let ask = "GET / HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\r\n";
    let mut first = proxy.client().await;
    first.send(ask).await;
    assert_eq!(first.response().await.status, 200);
    let early = first.chunk().await.expect("a heartbeat");
    assert_eq!(early.len(), ": heartbeat\n".len() + 4096);
    are_comments(&early);

    let mut queued = proxy.client().await;
    queued.send(ask).await;
    assert_eq!(queued.response().await.status, 200);
    assert_eq!(queued.chunk().await.as_deref(), Some(&b": queued 1\n"[..]));
    assert_eq!(queued.chunk().await, Some(early));
    backend.go_on();
    backend.go_on();
    for mut client in [first, queued] {
        let text = client.text().await;
        assert_eq!(events(&text), ["data: x", "", ""]);
    }
}

fn configuration(value: &str) -> Result<config::Config, String> {
    let text = format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]\nupstreams: {{ llm: {{ servers: [http://127.0.0.1:8000] }} }}\n\
         stream: {{ heartbeat_padding: {value} }}\n"
    );
    config::parse(&text, "my.yaml").map_err(|error| error.to_string())
}

#[test]
fn the_key_takes_a_size_up_to_64_kib() {
    for (written, bytes) in
        [("0", 0), ("off", 0), ("1", 1), ("4KiB", 4096), ("'18000'", 18_000), ("64KiB", LARGEST)]
    {
        let config = configuration(written).expect("a size");
        assert_eq!(config.stream.session.heartbeats.padding(), bytes);
        let effective = config::effective_yaml(&config);
        assert!(effective.contains(&format!("heartbeat_padding: {bytes}\n")), "{effective}");
    }
    for (written, problem, remedy) in [
        ("4KB", "`4KB` is not a size", "write a number and a unit, such as `4KiB`, or `0`"),
        ("-1", "`-1` is not a size", "write a number and a unit, such as `4KiB`, or `0`"),
        ("65KiB", "`65KiB` is too much", "write at most `64KiB`"),
    ] {
        let error = configuration(written).expect_err("a mistake");
        assert!(
            error.contains(&format!("my.yaml:3:30: stream.heartbeat_padding: {problem}\n  {remedy}")),
            "{error}"
        );
    }
}
