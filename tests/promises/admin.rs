//! The admin listener shows what is going on, and changes nothing.

use serde_json::Value;

use crate::kit::{Backend, Client, Sidestream, Within, stream_begun, until};

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
    let gone = async { while !proxy.ask_admin("/streams").await.1.starts_with("{\"streams\":[],") {} };
    gone.soon().await;
}

#[tokio::test]
async fn servers_are_listed_with_their_streams_and_why_they_are_out_and_so_is_the_queue() {
    let backend = Backend::that_begins(stream_begun("data: 1\n\n")).await;
    let dead = Backend::that_is_down().await;
    let backup = Backend::that_never_answers().await;
    let yaml = format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]\nadmin: {{ address: 127.0.0.1:0 }}\naccess_log: off\n\
         upstreams: {{ llm: {{ servers: [{{ url: '{}', weight: 2, max_streams: 2 }}, {{ url: '{}' }},\n\
         {{ url: '{}', backup: true }}, {{ url: 'http://localhost:1', resolve: 1m, backup: true }}], balance: round_robin,\n\
         max_streams: 3, queue: {{ size: 8, timeout: 1m }},\n\
         outlier_detection: {{ consecutive_failures: 1, base_ejection_time: 1m }} }} }}\n",
        backend.url, dead.url, backup.url
    );
    let proxy = Sidestream::configured(&yaml).await;
    let mut running = [proxy.client().await, proxy.client().await];
    for client in &mut running {
        // One of them finds the other server dead.
        client.get("/").await;
    }
    let mut waiting = proxy.client().await;
    waiting.send_get("/").await;
    proxy.reaches("sidestream_queue_length{upstream=\"llm\"}", 1.0).await;
    // The name is looked up meanwhile.
    let listed = until(async || {
        let (_, text) = proxy.ask_admin("/streams").await;
        let listed: Value = serde_json::from_str(&text).expect("JSON");
        (listed["upstreams"][0]["servers"][3]["state"] == "up").then_some(listed)
    });
    let listed = listed.soon().await;
    let text = listed.to_string();

    let [upstream] = &listed["upstreams"].as_array().expect("a list")[..] else { panic!("{text}") };
    let queue = &upstream["queue"];
    assert_eq!((&upstream["name"], &queue["length"], &queue["size"]), (&"llm".into(), &1.into(), &8.into()));
    let oldest = queue["oldest"].as_f64().expect("somebody waits");
    let queued = &listed["streams"][2];
    assert_eq!((&queued["phase"], &queued["server"]), (&"queued".into(), &Value::Null));
    assert!(oldest <= queued["age"].as_f64().expect("an age"), "{text}");

    let servers = upstream["servers"].as_array().expect("a list");
    let known = |index: usize| {
        ["server", "state", "streams", "max_streams", "weight", "backup"]
            .map(|key| servers[index][key].clone())
    };
    let expected = |server: &str, state: &str, streams: u32, max: u32, weight: u32, is_backup: bool| {
        [server.into(), state.into(), streams.into(), max.into(), weight.into(), Value::Bool(is_backup)]
    };
    assert_eq!(known(0), expected(&backend.url, "up", 2, 2, 2, false));
    assert_eq!(known(1), expected(&dead.url, "ejected", 0, 3, 1, false));
    assert_eq!(known(2), expected(&backup.url, "up", 0, 3, 1, true));
    assert_eq!(known(3), expected("http://localhost:1", "up", 0, 3, 1, true));
    let until = servers[1]["until"].as_f64().expect("it is out for a while");
    assert!((50.0..=60.0).contains(&until), "{text}");
    assert_eq!((&servers[0]["until"], &servers[0]["address"]), (&Value::Null, &Value::Null));
    // Each address of the name is a server.
    assert!(
        servers[3..].iter().all(|server| server["address"].as_str().is_some_and(|at| at.ends_with(":1")))
    );
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
    assert_eq!(proxy.ask_admin("/readyz").await, (503, "no backend accepts connections\n".to_owned()));
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
