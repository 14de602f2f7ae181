//! A tunnel opens only when a 101 response answers a WebSocket request. Everything else is an ordinary
//! request and response.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::kit::{Backend, Client, SWITCHING, Sidestream, UPGRADE, Within, stream_begun};

/// Number of ended tunnels with any outcome.
async fn tunnels(proxy: &Sidestream) -> f64 {
    let metrics = proxy.scrape().await;
    let ended = metrics.lines().filter(|line| line.starts_with("sidestream_websockets_total{"));
    ended.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Answers upgrade requests with `response`, and all others with 204.
async fn that_answers_upgrades_with(response: String) -> Backend {
    Backend::script(move |mut exchange| {
        let response = response.clone();
        async move {
            while let Some(head) = exchange.request().await {
                let is_upgrade = head.to_lowercase().contains("\r\nupgrade: websocket\r\n");
                let no_content = "HTTP/1.1 204 No Content\r\n\r\n";
                exchange.send(if is_upgrade { &response } else { no_content }).await;
            }
        }
    })
    .await
}

const REFUSAL: &str = "HTTP/1.1 401 Unauthorized\r\nConnection: X-Secret, Upgrade\r\nUpgrade: websocket\r\n\
     X-Secret: hop\r\nWWW-Authenticate: Bearer\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"who\":\"you?\"}";

#[tokio::test]
async fn a_refusal_arrives_whole_and_both_connections_are_kept() {
    let backend = that_answers_upgrades_with(REFUSAL.to_owned()).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    for _ in 0..3 {
        client.send(UPGRADE).await;
        let response = client.response().await;
        assert_eq!(response.status, 401);
        assert_eq!(response.field("www-authenticate"), Some("Bearer"));
        // Fields named in `Connection` are for the proxy only and must not be forwarded.
        assert!(response.fields("x-secret").is_empty(), "{}", response.head);
        assert!(!response.head.to_lowercase().contains("x-secret"), "{}", response.head);
        assert_eq!(client.exactly(14).await, b"{\"who\":\"you?\"}");
    }
    assert_eq!(client.get("/").await.status, 204);
    assert_eq!(backend.connections(), 1);
    proxy.reaches("sidestream_requests_total{route=\"default\",status=\"401\"}", 3.0).await;
    assert!(tunnels(&proxy).await < 1.0);
}

#[tokio::test]
async fn an_event_stream_in_place_of_a_101_is_an_event_stream() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(stream_begun("data: 1\n\ndata: to")).await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.send(UPGRADE).await;
    assert_eq!(client.response().await.status, 200);
    let stream = client.broken_text().await;
    assert!(stream.starts_with("data: 1\n\nevent: error\n"), "{stream}");
    assert!(stream.contains("\"code\":\"upstream_closed\""), "{stream}");
}

/// Forwarded before the 101 response, these bytes would be a request that bypasses the proxy's checks.
#[tokio::test]
async fn bytes_after_a_refused_upgrade_are_an_ordinary_request() {
    let mut backend = that_answers_upgrades_with(REFUSAL.to_owned()).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.send([UPGRADE, "GET /next HTTP/1.1\r\nHost: test\r\n\r\n"].concat()).await;
    assert_eq!(client.response().await.status, 401);
    client.exactly(14).await;
    assert_eq!(client.response().await.status, 204);
    backend.saw_request().await;
    let next = backend.saw_request().await;
    assert!(next.starts_with("GET /next HTTP/1.1\r\n"), "{next}");
    assert!(next.contains("\r\nX-Forwarded-For: 127.0.0.1\r\n"), "{next}");
}

#[tokio::test]
async fn a_request_that_does_not_ask_for_a_websocket_opens_no_tunnel() {
    let mut backend = Backend::script(|mut exchange| async move {
        while let Some(head) = exchange.whole_request().await {
            // The proxy must reject a 101 response to such a request.
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            exchange.send(if head.contains("/switches") { SWITCHING } else { answer }).await;
        }
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    for (head, why) in [
        ("GET / HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\n\r\n", "without `Connection`"),
        ("GET / HTTP/1.1\r\nHost: t\r\nConnection: keep-alive\r\nUpgrade: websocket\r\n\r\n", "not named"),
        ("GET / HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "another protocol"),
        ("GET / HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\n\r\n", "without `Upgrade`"),
        ("GET / HTTP/1.0\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "HTTP/1.0"),
        (
            "POST / HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nhi",
            "with a body",
        ),
    ] {
        let mut client = proxy.client().await;
        client.send(head).await;
        let request = backend.saw_request().await.to_lowercase();
        assert!(!request.contains("upgrade"), "{why}: {request}");
        assert_eq!(client.response().await.status, 200, "{why}");
        assert_eq!(client.exactly(2).await, b"ok", "{why}");

        let mut client = proxy.client().await;
        client.send(head.replacen(" / ", " /switches ", 1)).await;
        assert_eq!(client.response().await.status, 502, "{why}, and the backend switches");
    }
    assert!(tunnels(&proxy).await < 1.0);
}

#[tokio::test]
async fn a_switch_to_a_protocol_that_was_not_requested_is_invalid() {
    for upgrade in ["Upgrade: h2c\r\n", ""] {
        let response = format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n{upgrade}\r\n");
        let backend = that_answers_upgrades_with(response).await;
        let proxy = Sidestream::in_front_of(&backend).await;
        let mut client = proxy.client().await;
        client.send(UPGRADE).await;
        assert_eq!(client.response().await.status, 502, "{upgrade:?}");
        assert!(tunnels(&proxy).await < 1.0);
    }
}

#[tokio::test]
async fn an_upgrade_that_fails_before_its_101_fails_like_any_request() {
    let down = Backend::that_is_down().await;
    let proxy = Sidestream::in_front_of(&down).await;
    let silent = Backend::that_never_answers().await;
    let slow = Sidestream::with(&silent, "first_event_timeout: 100ms").await;
    for (proxy, status, code) in [(proxy, 502, "upstream_connect_failed"), (slow, 504, "first_event_timeout")]
    {
        let mut client = proxy.client().await;
        client.send(UPGRADE).await;
        assert_eq!(client.refusal().await, (status, code.to_owned()));
        assert!(tunnels(&proxy).await < 1.0);
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_101_closes_the_upstream_connection() {
    let mut backend = Backend::that_never_answers().await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.send(UPGRADE).await;
    backend.saw_request().await;
    drop(client);
    backend.saw_close().await;
    proxy.reaches("sidestream_requests_total{route=\"default\",status=\"499\"}", 1.0).await;
    assert!(tunnels(&proxy).await < 1.0);
}

/// Starts the program where `two.test` resolves to two addresses. Returns `None` if the system does not allow
/// it.
async fn where_a_name_has_two_addresses(folder: &Path, port: u16) -> Option<(Child, SocketAddr)> {
    let (hosts, yaml) = (folder.join("hosts"), folder.join("sidestream.yaml"));
    std::fs::write(&hosts, "127.0.0.2 two.test\n127.0.0.3 two.test\n").expect("a file");
    let text = format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]\nadmin: off\naccess_log: off\n\
         upstreams: {{ llm: {{ servers: ['http://two.test:{port}'] }} }}\n"
    );
    std::fs::write(&yaml, text).expect("a file");
    let script = "mount --bind \"$1\" /etc/hosts && exec \"$2\" run --config \"$3\"";
    let mut child = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(&hosts)
        .arg(env!("CARGO_BIN_EXE_sidestream"))
        .arg(&yaml)
        .env("NO_COLOR", "1")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    while let Some(line) = lines.next_line().within(Duration::from_secs(60)).await.expect("a pipe") {
        eprintln!("{line}");
        if let Some((_, address)) = line.split_once("listening address=") {
            return Some((child, address.parse().expect("an address")));
        }
    }
    None
}

#[tokio::test]
async fn the_next_address_of_a_name_is_tried_after_a_refusal() {
    for answers in [2, 3] {
        let backend = Backend::script_at(([127, 0, 0, answers], 0), |mut exchange| async move {
            exchange.request().await;
            exchange.send(SWITCHING).await;
            exchange.echo().await;
        })
        .await;
        let folder = tempfile::tempdir().expect("a folder");
        let started = where_a_name_has_two_addresses(folder.path(), backend.address.port()).await;
        let Some((_process, address)) = started else {
            eprintln!("skipped: this system does not allow mounting a different /etc/hosts");
            return;
        };
        let mut client = Client::connect(address).await;
        client.send(UPGRADE).await;
        assert_eq!(client.response().await.status, 101, "127.0.0.{answers}");
        client.send("hello").await;
        assert_eq!(client.exactly(5).await, b"hello");
    }
}
