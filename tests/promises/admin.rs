//! The admin listener shows what is going on, and changes nothing.

use serde_json::Value;

use crate::kit::{Backend, Client, Sidestream, Within, stream_begun};

/// The next snapshot of the live page.
async fn snapshot(client: &mut Client) -> Value {
    let event = client.chunk().await.expect("an event");
    let event = String::from_utf8(event).expect("UTF-8");
    let data = event.strip_prefix("data: ").and_then(|rest| rest.strip_suffix("\n\n")).expect("one event");
    serde_json::from_str(data).expect("JSON")
}

#[tokio::test]
async fn live_streams_are_listed_with_what_is_known_of_them() {
    let mut backend = Backend::that_begins(stream_begun("data: 1\n\ndata: 2\n\n")).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let body = r#"{"model":"m","stream":true}"#;
    let mut client = proxy.client().await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: t\r\nX-Request-Id: r\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    client.response().await;
    client.chunk().await;
    backend.saw_request().await;
    // Written right after the client has got it.
    let listed = async {
        loop {
            let (status, text) = proxy.ask_admin("/streams").await;
            assert_eq!(status, 200);
            let listed: Value = serde_json::from_str(&text).expect("JSON");
            if listed["streams"][0]["events"] == 2 {
                return listed["streams"][0].clone();
            }
        }
    };
    let stream = listed.soon().await;
    for (name, value) in [
        ("phase", "streaming"),
        ("route", "default"),
        ("upstream", "llm"),
        ("model", "m"),
        ("request_id", "r"),
    ] {
        assert_eq!(stream[name], value, "{name} in {stream}");
    }
    assert!(stream["ttfe"].as_f64() <= stream["age"].as_f64(), "{stream}");
    drop(client);
    let gone = async { while proxy.ask_admin("/streams").await.1 != "{\"streams\":[]}\n" {} };
    gone.soon().await;
}

#[tokio::test]
async fn the_live_page_is_one_file_that_asks_nobody_else() {
    let backend = Backend::that_never_answers().await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = Client::connect(proxy.admin).await;
    let response = client.get("/").await;
    assert_eq!(response.field("content-type"), Some("text/html; charset=utf-8"));
    assert!(
        response
            .field("content-security-policy")
            .is_some_and(|policy| policy.starts_with("default-src 'none'"))
    );
    let (_, page) = proxy.ask_admin("/").await;
    assert!(
        !page.contains("http://") && !page.contains("https://") && !page.contains("//cdn"),
        "an external request"
    );
}

#[tokio::test]
async fn the_live_page_is_fed_with_the_sums_of_the_metrics() {
    let mut backend = Backend::that_never_answers().await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut live = Client::connect(proxy.admin).await;
    assert_eq!(live.get("/live").await.field("content-type"), Some("text/event-stream"));
    let first = snapshot(&mut live).await;
    assert_eq!(
        (&first["active"], &first["waiting"], &first["draining"]),
        (&0.0.into(), &0.0.into(), &false.into())
    );
    let mut client = proxy.client().await;
    client.send_get("/").await;
    backend.saw_request().await;
    let second = snapshot(&mut live).await;
    assert_eq!(second["waiting"], 1.0);
    assert_eq!(second["slowest"][0]["phase"], "prefill");
    drop(client);
    proxy.reaches("sidestream_streams_total{outcome=\"client_gone\",route=\"default\"}", 1.0).await;
    let third = snapshot(&mut live).await;
    assert_eq!((&third["outcomes"]["client_gone"], &third["started"]), (&1.0.into(), &1.0.into()));
    let counts = third["cancel"]["counts"].as_array().expect("counts");
    assert_eq!(counts.iter().filter_map(Value::as_u64).sum::<u64>(), 1);
    assert_eq!(counts.len(), third["cancel"]["bounds"].as_array().expect("bounds").len() + 1);
}

#[tokio::test]
async fn without_a_backend_that_takes_connections_it_is_not_ready_but_healthy() {
    let mut backend = Backend::that_is_down().await;
    let proxy = Sidestream::in_front_of(&backend).await;
    assert_eq!(proxy.ask_admin("/readyz").await, (503, "no backend takes connections\n".to_owned()));
    assert_eq!(proxy.ask_admin("/healthz").await.0, 200);
    backend.comes_back().await;
    let ready = async { while proxy.ask_admin("/readyz").await.0 != 200 {} };
    ready.soon().await;
}

#[tokio::test]
async fn a_draining_process_is_not_ready_but_healthy() {
    let mut backend = Backend::that_begins(stream_begun("data: 1\n\n")).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    assert_eq!(proxy.ask_admin("/readyz").await, (200, "ready\n".to_owned()));
    let mut client = proxy.client().await;
    client.get("/").await;
    client.chunk().await;
    backend.saw_request().await;
    let (admin, mut probe) = (proxy.admin, Client::connect(proxy.admin).await);
    let stopping = proxy.stop();
    let drained = async {
        while probe.get("/readyz").await.status != 503 {
            probe.exactly(6).await;
        }
    };
    drained.soon().await;
    let mut client2 = Client::connect(admin).await;
    assert_eq!(client2.get("/healthz").await.status, 200);
    drop(client);
    stopping.soon().await.expect("an end");
}
