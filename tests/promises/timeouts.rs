//! Every timeout fires, says what it was, and frees the backend.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::kit::{Backend, Client, STREAM_HEAD, Sidestream, chunk};

async fn refusal(client: &mut Client) -> (u16, String) {
    let response = client.response().await;
    let length = response.field("content-length").expect("a length").parse().expect("a length");
    let body: Value = serde_json::from_slice(&client.exactly(length).await).expect("JSON");
    (response.status, body["error"]["code"].as_str().expect("a code").to_owned())
}

#[tokio::test]
async fn no_header_within_the_first_event_timeout_is_a_504() {
    let mut backend = Backend::that_never_answers().await;
    let proxy = Sidestream::with(&backend, "first_event_timeout: 300ms").await;
    let mut client = proxy.client().await;
    let sent = Instant::now();
    client.send_get("/").await;
    assert_eq!(refusal(&mut client).await, (504, "first_event_timeout".to_owned()));
    let took = sent.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(3), "{took:?}");
    backend.saw_close().await;
    proxy.reaches("sidestream_streams_total{outcome=\"first_event_timeout\",route=\"default\"}", 1.0).await;
}

#[tokio::test]
async fn no_event_within_the_first_event_timeout_is_an_error_event() {
    let mut backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(STREAM_HEAD).await;
        exchange.send(chunk(": processing\n\n")).await;
        exchange.closed().await;
    })
    .await;
    // The idle timeout is shorter and must wait for the first event.
    let proxy = Sidestream::with(&backend, "first_event_timeout: 600ms, idle_timeout: 100ms").await;
    let mut client = proxy.client().await;
    client.get("/").await;
    let text = client.broken_text().await;
    assert!(text.starts_with(": processing\n\nevent: error\n"), "{text}");
    assert!(text.contains("\"code\":\"first_event_timeout\""), "{text}");
    backend.saw_close().await;
    let series = "sidestream_time_to_first_event_seconds_count{model=\"other\",route=\"default\"}";
    assert!(proxy.metric(series).await < 1.0, "a stream without an event has no time to its first");
}

#[tokio::test]
async fn a_stream_that_outlives_max_duration_gets_an_error_event() {
    let mut backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send([STREAM_HEAD.as_bytes(), &chunk("data: x\n\n")].concat()).await;
        exchange.closed().await;
    })
    .await;
    let proxy = Sidestream::with(&backend, "max_duration: 300ms").await;
    let mut client = proxy.client().await;
    let started = Instant::now();
    client.get("/").await;
    let text = client.broken_text().await;
    assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
    assert!(text.starts_with("data: x\n\nevent: error\n"), "{text}");
    assert!(text.contains("\"code\":\"max_duration\""), "{text}");
    backend.saw_close().await;
}

#[tokio::test]
async fn no_header_within_max_duration_is_a_504() {
    let backend = Backend::that_never_answers().await;
    let proxy = Sidestream::with(&backend, "max_duration: 200ms").await;
    let mut client = proxy.client().await;
    client.send_get("/").await;
    assert_eq!(refusal(&mut client).await, (504, "max_duration".to_owned()));
}

/// A socket that accepts nothing: its queue is full, so the kernel drops what would connect.
struct Unreachable {
    address: SocketAddr,
    _listener: socket2::Socket,
    _queued: Vec<std::net::TcpStream>,
}

impl Unreachable {
    fn new() -> Self {
        let listener =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
        listener.listen(0).expect("a socket");
        let address = listener.local_addr().ok().and_then(|a| a.as_socket()).expect("an address");
        let try_connect = |_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        let queued = (0..4).map_while(try_connect).collect();
        Self { address, _listener: listener, _queued: queued }
    }

    fn yaml(&self, connect_timeout: &str) -> String {
        format!(
            "listeners: [{{ address: 127.0.0.1:0 }}]\nadmin: {{ address: 127.0.0.1:0 }}\naccess_log: off\n\
             upstreams: {{ llm: {{ servers: [http://{}], connect_timeout: {connect_timeout} }} }}\n",
            self.address
        )
    }
}

#[tokio::test]
async fn no_connection_within_the_connect_timeout_is_a_504() {
    let unreachable = Unreachable::new();
    let proxy = Sidestream::configured(&unreachable.yaml("300ms")).await;
    let mut client = proxy.client().await;
    client.send_get("/").await;
    assert_eq!(refusal(&mut client).await, (504, "upstream_connect_timeout".to_owned()));
}

#[tokio::test]
async fn a_client_that_leaves_while_connecting_is_noticed() {
    let unreachable = Unreachable::new();
    let proxy = Sidestream::configured(&unreachable.yaml("1m")).await;
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello").await;
    proxy.reaches("sidestream_streams_waiting{route=\"default\"}", 1.0).await;
    drop(client);
    proxy.reaches("sidestream_cancel_propagation_seconds_count{phase=\"connecting\"}", 1.0).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_the_keepalive_timeout() {
    let backend = Backend::that_answers("HTTP/1.1 204 No Content\r\n\r\n").await;
    let proxy = Sidestream::configured(&format!(
        "listeners: [{{ address: 127.0.0.1:0, keepalive_timeout: 300ms }}]\nadmin: {{ address: 127.0.0.1:0 }}\naccess_log: off\n\
         upstreams: {{ llm: {{ servers: [http://{}] }} }}\n",
        backend.address
    ))
    .await;
    let mut client = proxy.client().await;
    client.get("/").await;
    assert!(client.is_closed().await);
}
