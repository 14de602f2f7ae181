//! The end of a tunnel and who ended it appear in metrics, in the log and on the wire. Until then, the tunnel
//! is listed as live.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::kit::{Backend, Client, SWITCHING, Sidestream, UPGRADE, Within, log_lines};

/// A masked text frame (RFC 6455, 5.2).
const LAST: &[u8] = b"\x81\x84\0\0\0\0last";
/// Close frames of either side, with codes 1000 and 1001 (RFC 6455, 5.5.1 and 7.4.1).
const CLOSE_BY_CLIENT: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";
const CLOSE_BY_BACKEND: &[u8] = b"\x88\x02\x03\xe8";
const GOING_AWAY_TO_BACKEND: &[u8] = b"\x88\x82\0\0\0\0\x03\xe9";
const GOING_AWAY_TO_CLIENT: &[u8] = b"\x88\x02\x03\xe9";

/// A sidestream with an access log.
struct Logged {
    proxy: Sidestream,
    log: PathBuf,
    _folder: TempDir,
}

impl Logged {
    /// `more` is additional YAML.
    async fn in_front_of(backend: &Backend, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("access.log");
        let proxy = Sidestream::before(&backend.url).access_log(&log).more(more).start().await;
        Self { proxy, log, _folder: folder }
    }

    async fn open(&self) -> Client {
        self.proxy.websocket().await
    }

    /// Waits until one tunnel has ended, and checks that metrics and log agree.
    async fn ended(&self, outcome: &str, ended_by: &[&str]) -> Value {
        let series = |name: &str| format!("{name}{{outcome=\"{outcome}\",route=\"default\"}}");
        self.proxy.reaches(&series("sidestream_websockets_total"), 1.0).await;
        self.proxy.reaches(&series("sidestream_websocket_duration_seconds_count"), 1.0).await;
        self.proxy.reaches("sidestream_websockets_active{route=\"default\"}", 0.0).await;
        let [line] = &log_lines(&self.log, 1).await[..] else { panic!("one line") };
        for (name, value) in [
            ("kind", Value::from("websocket")),
            ("outcome", outcome.into()),
            ("http.response.status_code", 101.into()),
        ] {
            assert_eq!(line[name], value, "{name} in {line}");
        }
        let said = line["ended_by"].as_str().expect("who ended it");
        assert!(ended_by.contains(&said), "{line}");
        line.clone()
    }
}

/// A backend that sends these bytes with its 101 response and then waits for the end.
async fn that_sends(bytes: &'static str) -> Backend {
    Backend::that_begins([SWITCHING, bytes].concat()).await
}

#[tokio::test]
async fn a_tunnel_is_listed_while_open_and_counted_and_logged_at_its_end() {
    let backend = that_sends("abc").await;
    let logged = Logged::in_front_of(&backend, "").await;
    let mut client = logged.proxy.client().await;
    let ids =
        "X-Request-Id: r-1\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n";
    client.send([UPGRADE.strip_suffix("\r\n").expect("a head"), ids].concat()).await;
    assert_eq!(client.response().await.status, 101);
    assert_eq!(client.exactly(3).await, b"abc");
    client.send("hello").await;

    logged.proxy.reaches("sidestream_websockets_active{route=\"default\"}", 1.0).await;
    let listed = async {
        loop {
            let (_, text) = logged.proxy.ask_admin("/streams").await;
            let listed: Value = serde_json::from_str(&text).expect("JSON");
            if listed["streams"][0]["bytes"] == 3 {
                return listed["streams"][0].clone();
            }
        }
    };
    let listed = listed.soon().await;
    for (name, value) in
        [("phase", "tunnel"), ("route", "default"), ("upstream", "llm"), ("request_id", "r-1")]
    {
        assert_eq!(listed[name], value, "{name} in {listed}");
    }

    client.half_close().await;
    assert_eq!(client.rest().await.expect("a clean end"), b"");
    let line = logged.ended("completed", &["client", "backend"]).await;
    for (name, value) in [
        ("http.request.method", Value::from("GET")),
        ("url.path", "/ws".into()),
        ("server.address", "test".into()),
        ("client.address", "127.0.0.1".into()),
        ("http.route", "default".into()),
        ("upstream", "llm".into()),
        ("upstream.server", format!("http://{}", backend.address).into()),
        ("bytes", 3.into()),
        ("request_id", "r-1".into()),
        ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736".into()),
    ] {
        assert_eq!(line[name], value, "{name} in {line}");
    }
    assert!(line["duration"].as_f64().is_some_and(|seconds| seconds > 0.0), "{line}");
    let bytes = |direction| {
        format!("sidestream_websocket_bytes_total{{direction=\"{direction}\",route=\"default\"}}")
    };
    logged.proxy.reaches(&bytes("received"), 5.0).await;
    logged.proxy.reaches(&bytes("sent"), 3.0).await;
    logged.proxy.reaches("sidestream_requests_total{route=\"default\",status=\"101\"}", 1.0).await;
    assert!(logged.proxy.ask_admin("/streams").await.1.starts_with("{\"streams\":[],"));
}

#[tokio::test]
async fn a_half_closed_tunnel_stays_open() {
    let go_on = Arc::new(Notify::new());
    let told = go_on.clone();
    let mut backend = Backend::script(move |mut exchange| {
        let told = told.clone();
        async move {
            exchange.request().await;
            exchange.send(SWITCHING).await;
            exchange.closed().await;
            told.notified().await;
        }
    })
    .await;
    let logged = Logged::in_front_of(&backend, "").await;
    let mut client = logged.open().await;
    client.half_close().await;
    backend.saw_close().await;
    logged.proxy.reaches("sidestream_websockets_active{route=\"default\"}", 1.0).await;
    assert_eq!(std::fs::read_to_string(&logged.log).unwrap_or_default(), "");
    go_on.notify_one();
    assert_eq!(client.rest().await.expect("a clean end"), b"");
    // The client left without a close frame.
    logged.ended("client_gone", &["client"]).await;
}

#[tokio::test]
async fn a_reset_by_the_client_closes_the_backend_connection() {
    let mut backend = that_sends("").await;
    let logged = Logged::in_front_of(&backend, "").await;
    logged.open().await.reset();
    backend.saw_close().await;
    logged.ended("client_gone", &["client"]).await;
}

#[tokio::test]
async fn a_reset_by_the_client_is_noticed_while_the_backend_sends() {
    let mut backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(SWITCHING).await;
        while exchange.try_send([b'a'; 8000]).await.is_ok() {}
        exchange.closed().await;
    })
    .await;
    let logged = Logged::in_front_of(&backend, "").await;
    let mut client = logged.open().await;
    client.exactly(100_000).await;
    client.reset();
    backend.saw_close().await;
    logged.ended("client_gone", &["client"]).await;
}

#[tokio::test]
async fn a_reset_by_the_backend_closes_the_client_connection() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(SWITCHING).await;
        exchange.body(3).await;
        exchange.reset();
    })
    .await;
    let logged = Logged::in_front_of(&backend, "").await;
    let mut client = logged.open().await;
    client.send("die").await;
    // Reset or FIN does not matter here: the close frame is missing in either case.
    let _ = client.rest().await;
    logged.ended("upstream_reset", &["backend"]).await;
}

#[tokio::test]
async fn a_tunnel_silent_in_both_directions_ends_after_idle_timeout() {
    let mut backend = that_sends("").await;
    let logged = Logged::in_front_of(&backend, "stream: { websocket: { idle_timeout: 300ms } }").await;
    let opened = Instant::now();
    let mut client = logged.open().await;
    let _ = client.rest().await;
    backend.saw_close().await;
    assert!(opened.elapsed() >= Duration::from_millis(300), "{:?}", opened.elapsed());
    logged.ended("idle_timeout", &["proxy"]).await;
}

#[tokio::test]
async fn data_from_either_side_keeps_a_tunnel_open() {
    const TICKS: usize = 40;
    let backend = Backend::script(|mut exchange| async move {
        let head = exchange.request().await.expect("a request");
        exchange.send(SWITCHING).await;
        if head.contains("/ws") {
            for _ in 0..TICKS {
                exchange.wait().await;
                exchange.send("x").await;
            }
        }
        exchange.closed().await;
    })
    .await;
    // None of the other inactivity timeouts applies to tunnels.
    let timeouts = "stream: { websocket: { idle_timeout: 1s }, idle_timeout: 1s, first_event_timeout: 1s, max_duration: off }";
    let logged = Logged::in_front_of(&backend, timeouts).await;
    let mut listens = logged.open().await;
    let mut speaks = logged.proxy.client().await;
    speaks.send(UPGRADE.replace("/ws", "/listens")).await;
    assert_eq!(speaks.response().await.status, 101);
    for _ in 0..TICKS {
        tokio::time::sleep(Duration::from_millis(50)).await;
        speaks.send("x").await;
        backend.go_on();
    }
    assert_eq!(listens.exactly(TICKS).await.len(), TICKS);
    logged.proxy.reaches("sidestream_websockets_active{route=\"default\"}", 2.0).await;
}

#[tokio::test]
async fn a_tunnel_may_be_silent_for_longer_than_a_stream_may() {
    let backend = Backend::script(|mut exchange| async move {
        let head = exchange.request().await.expect("a request");
        if head.contains("/ws") {
            exchange.send(SWITCHING).await;
            exchange.echo().await;
        }
        exchange.closed().await;
    })
    .await;
    let timeouts = "idle_timeout: 200ms, first_event_timeout: 200ms, write_timeout: 200ms";
    let proxy = Sidestream::with(&backend, timeouts).await;
    let mut client = proxy.websocket().await;
    // A stream times out under the same limits.
    assert_eq!(proxy.client().await.get("/").await.status, 504);
    client.send("hello").await;
    assert_eq!(client.exactly(5).await, b"hello");
}

const OPEN: usize = 20;

#[tokio::test]
async fn tunnels_continue_during_shutdown_until_drain_timeout() {
    const DRAIN: Duration = Duration::from_secs(2);
    let mut backend = Backend::that_echoes().await;
    let logged = Logged::in_front_of(&backend, &format!("server: {{ drain_timeout: {DRAIN:?} }}")).await;
    let mut clients = Vec::new();
    for _ in 0..OPEN {
        clients.push(logged.open().await);
    }
    let Logged { proxy, log, _folder } = logged;
    let told = Instant::now();
    let stopped = proxy.stop();
    for client in &mut clients {
        client.send("still here").await;
        assert_eq!(client.exactly(10).await, b"still here");
    }
    assert!(told.elapsed() < DRAIN && !stopped.is_finished(), "{:?}", told.elapsed());
    for mut client in clients {
        let _ = client.rest().await;
        assert!(told.elapsed() >= DRAIN, "broken after {:?}", told.elapsed());
        backend.saw_close().await;
    }
    stopped.soon().await.expect("an end");
    let lines = log_lines(&log, OPEN).await;
    assert_eq!(lines.len(), OPEN);
    for line in lines {
        assert_eq!((&line["kind"], &line["outcome"]), (&"websocket".into(), &"shed".into()), "{line}");
        assert_eq!((&line["ended_by"], &line["bytes"]), (&"proxy".into(), &10.into()), "{line}");
    }
}

#[tokio::test]
async fn the_server_ends_with_its_last_tunnel() {
    let backend = Backend::that_echoes().await;
    let logged = Logged::in_front_of(&backend, "server: { drain_timeout: 10m }").await;
    let mut client = logged.open().await;
    let stopped = logged.proxy.stop();
    client.send(LAST).await;
    assert_eq!(client.exactly(LAST.len()).await, LAST);
    client.send(CLOSE_BY_CLIENT).await;
    assert_eq!(client.exactly(CLOSE_BY_CLIENT.len()).await, CLOSE_BY_CLIENT);
    client.half_close().await;
    assert_eq!(client.rest().await.expect("a clean end"), b"");
    stopped.soon().await.expect("an end");
    let lines = log_lines(&logged.log, 1).await;
    assert_eq!(lines[0]["outcome"], "completed", "{}", lines[0]);
}

#[tokio::test]
async fn the_sender_of_the_first_close_frame_ended_the_websocket() {
    for by in ["client", "backend"] {
        let backend = Backend::script(move |mut exchange| async move {
            exchange.request().await;
            exchange.send(SWITCHING).await;
            if by == "backend" {
                exchange.send(CLOSE_BY_BACKEND).await;
                exchange.body_until(CLOSE_BY_CLIENT).await;
            } else {
                exchange.body_until(CLOSE_BY_CLIENT).await;
                exchange.send(CLOSE_BY_BACKEND).await;
            }
            // The server closes the connection first (RFC 6455, 7.1.1).
        })
        .await;
        let logged = Logged::in_front_of(&backend, "").await;
        let mut client = logged.open().await;
        if by == "backend" {
            assert_eq!(client.exactly(CLOSE_BY_BACKEND.len()).await, CLOSE_BY_BACKEND);
        }
        client.send(CLOSE_BY_CLIENT).await;
        let rest = client.rest().await.expect("a clean end");
        assert_eq!(rest, if by == "backend" { &[][..] } else { CLOSE_BY_BACKEND });
        drop(client);
        logged.ended("completed", &[by]).await;
    }
}

#[tokio::test]
async fn a_backend_that_ends_without_a_close_frame_has_failed() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send([SWITCHING.as_bytes(), b"\x81\x02hi"].concat()).await;
        exchange.body_until(LAST).await;
    })
    .await;
    let logged = Logged::in_front_of(&backend, "").await;
    let mut client = logged.open().await;
    client.send(LAST).await;
    // The proxy adds no close frame: the client sees the end as the backend sent it.
    assert_eq!(client.rest().await.expect("a clean end"), b"\x81\x02hi");
    drop(client);
    logged.ended("upstream_reset", &["backend"]).await;
}

#[tokio::test]
async fn both_sides_get_a_close_frame_when_the_proxy_ends_the_tunnel() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let backend = Backend::script(move |mut exchange| {
        let told = told.clone();
        async move {
            exchange.request().await;
            exchange.send([SWITCHING.as_bytes(), b"\x81\x02hi"].concat()).await;
            let _ = told.send(exchange.body_until(GOING_AWAY_TO_BACKEND).await);
            exchange.closed().await;
        }
    })
    .await;
    for (why, outcome) in [
        ("stream: { websocket: { idle_timeout: 300ms } }", "idle_timeout"),
        ("stream: { max_duration: 300ms }", "max_duration"),
        ("server: { drain_timeout: 300ms }", "shed"),
    ] {
        let logged = Logged::in_front_of(&backend, why).await;
        let mut client = logged.open().await;
        client.send(LAST).await;
        let Logged { proxy, log, _folder } = logged;
        let stopped = (outcome == "shed").then(|| proxy.stop());
        let rest = client.rest().await.expect("a clean end");
        assert_eq!(rest, [b"\x81\x02hi", GOING_AWAY_TO_CLIENT].concat(), "{outcome}");
        assert_eq!(heard.recv().soon().await.expect("a backend"), [LAST, GOING_AWAY_TO_BACKEND].concat());
        drop(client);
        assert_eq!(log_lines(&log, 1).await[0]["outcome"], outcome);
        if let Some(stopped) = stopped {
            stopped.soon().await.expect("an end");
        }
    }
}

#[tokio::test]
async fn no_close_frame_is_inserted_into_a_partial_frame() {
    let backend = Backend::that_begins([SWITCHING.as_bytes(), b"\x81\x10not all"].concat()).await;
    let logged = Logged::in_front_of(&backend, "stream: { websocket: { idle_timeout: 300ms } }").await;
    let mut client = logged.open().await;
    assert_eq!(client.rest().await.expect("a clean end"), b"\x81\x10not all");
    drop(client);
    logged.ended("idle_timeout", &["proxy"]).await;
}

#[tokio::test]
async fn a_client_that_left_ends_the_tunnel_to_a_backend_that_does_not_read() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(SWITCHING).await;
        std::future::pending().await
    })
    .await;
    let logged = Logged::in_front_of(&backend, "stream: { write_timeout: 500ms }").await;
    let mut client = logged.open().await;
    // More than all buffers on the path hold.
    while let Ok(Ok(())) =
        tokio::time::timeout(Duration::from_millis(300), client.try_send([0x82; 64 << 10])).await
    {}
    client.reset();
    logged.proxy.reaches("sidestream_websockets_active{route=\"default\"}", 0.0).await;
}

#[tokio::test]
async fn a_reset_after_a_half_close_is_noticed() {
    let mut backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(SWITCHING).await;
        exchange.closed().await;
        std::future::pending().await
    })
    .await;
    let logged = Logged::in_front_of(&backend, "").await;
    let mut client = logged.open().await;
    client.half_close().await;
    // The FIN is forwarded; after that, no data moves.
    backend.saw_close().await;
    let left = Instant::now();
    client.reset();
    logged.ended("client_gone", &["client"]).await;
    // Well before the limit for a half-closed tunnel (15 s).
    assert!(left.elapsed() < Duration::from_secs(10), "{:?}", left.elapsed());
}

#[tokio::test]
async fn a_reset_by_the_backend_is_noticed_while_the_client_does_not_read() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(SWITCHING).await;
        // More than all buffers on the path hold.
        while let Ok(Ok(())) =
            tokio::time::timeout(Duration::from_millis(300), exchange.try_send([0x82; 64 << 10])).await
        {
        }
        exchange.reset();
    })
    .await;
    let logged = Logged::in_front_of(&backend, "").await;
    let mut client = Client::connect_with_window(logged.proxy.address, 16 * 1024).await;
    client.send(UPGRADE).await;
    assert_eq!(client.response().await.status, 101);
    logged.ended("upstream_reset", &["backend"]).await;
}
