//! The metrics report correct values.

use crate::kit::{Backend, Client, LAST_CHUNK, STREAM_HEAD, Sidestream, chunk};

const HEARTBEAT: &[u8] = b": heartbeat\n";

/// Waits for two heartbeats, which takes 200 ms and must not count as events, and then lets the backend
/// continue.
async fn waits_for_two_heartbeats(client: &mut Client, backend: &Backend) {
    for _ in 0..2 {
        assert_eq!(client.chunk().await.as_deref(), Some(HEARTBEAT));
    }
    backend.go_on();
}

const MODEL_AND_ROUTE: &str = "{model=\"other\",route=\"default\"}";

#[tokio::test]
async fn a_stream_is_measured_from_its_request_to_its_end() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(STREAM_HEAD).await;
        exchange.send(chunk(": not an event\n\n")).await;
        exchange.wait().await;
        exchange.send(chunk("data: 1\n\ndata: 2\n\n")).await;
        exchange.send(chunk("data: 3\n\n")).await;
        exchange.send(LAST_CHUNK).await;
        exchange.closed().await;
    })
    .await;
    let proxy = Sidestream::with(&backend, "heartbeat: 100ms").await;
    let mut client = proxy.client().await;
    client.get("/").await;
    client.chunk().await;
    waits_for_two_heartbeats(&mut client, &backend).await;
    client.text().await;
    proxy.reaches("sidestream_streams_total{outcome=\"completed\",route=\"default\"}", 1.0).await;
    let route = "{route=\"default\"}";
    let sum = proxy.metric(&format!("sidestream_time_to_first_event_seconds_sum{MODEL_AND_ROUTE}")).await;
    assert!((0.2..5.0).contains(&sum), "{sum}");
    for (series, value) in [
        ("sidestream_streams_started_total", 1.0),
        ("sidestream_events_per_read_sum", 3.0),
        ("sidestream_upstream_header_seconds_count", 1.0),
        ("sidestream_inter_event_seconds_count", 2.0),
        ("sidestream_events_total", 3.0),
        ("sidestream_event_bytes_total", 43.0),
        ("sidestream_streams_active", 0.0),
        ("sidestream_streams_waiting", 0.0),
    ] {
        assert!((proxy.metric(&format!("{series}{route}")).await - value).abs() < f64::EPSILON, "{series}");
    }
    let series = "sidestream_stream_duration_seconds_count{outcome=\"completed\",route=\"default\"}";
    proxy.reaches(series, 1.0).await;
    proxy.reaches("sidestream_requests_total{route=\"default\",status=\"200\"}", 1.0).await;
    proxy.reaches("sidestream_upstream_connect_seconds_count{upstream=\"llm\"}", 1.0).await;
}

#[tokio::test]
async fn the_first_token_is_not_the_first_event() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(STREAM_HEAD).await;
        exchange.send(chunk("data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n")).await;
        exchange.wait().await;
        exchange.send(chunk("data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n")).await;
        exchange.send([&chunk("data: [DONE]\n\n")[..], LAST_CHUNK.as_bytes()].concat()).await;
        exchange.closed().await;
    })
    .await;
    let proxy = Sidestream::with(&backend, "heartbeat: 100ms").await;
    let mut client = proxy.client().await;
    client.get("/").await;
    client.chunk().await;
    waits_for_two_heartbeats(&mut client, &backend).await;
    client.text().await;
    let of = async |metric: &str| proxy.metric(&format!("sidestream_{metric}{MODEL_AND_ROUTE}")).await;
    let to_event = of("time_to_first_event_seconds_sum").await;
    let to_token = of("time_to_first_token_seconds_sum").await;
    assert!(to_event > 0.0 && (0.2..5.0).contains(&to_token), "{to_event} {to_token}");
    assert!(to_token - to_event >= 0.2, "{to_event} {to_token}");
    assert!((of("time_to_first_token_seconds_count").await - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn another_response_counts_as_a_request_and_not_as_a_stream() {
    let backend = Backend::that_answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.get("/").await;
    client.exactly(2).await;
    proxy.reaches("sidestream_requests_total{route=\"default\",status=\"200\"}", 1.0).await;
    proxy.reaches("sidestream_streams_total{outcome=\"completed\",route=\"default\"}", 0.0).await;
}

#[tokio::test]
async fn the_admin_listener_answers_its_paths() {
    let backend = Backend::that_never_answers().await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = Client::connect(proxy.admin).await;
    let response = client.get("/healthz").await;
    assert_eq!(response.status, 200);
    assert_eq!(client.exactly(3).await, b"ok\n");
    client.send("POST /metrics HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.response().await.status, 405);
    let mut client = Client::connect(proxy.admin).await;
    assert_eq!(client.get("/nothing").await.status, 404);
    assert!(proxy.scrape().await.contains("sidestream_build_info{version="));
}
