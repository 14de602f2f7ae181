//! The live page in a real browser: its numbers are those of `/metrics`, and it keeps up.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::kit::{Backend, Client, LAST_CHUNK, STREAM_HEAD, Sidestream, chunk, stream_begun};

/// Streams that run while the page is looked at.
const STREAMS: usize = 1000;

async fn look_at(admin: SocketAddr) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut browser = Command::new("node");
    browser.arg(root.join("tests/clients/page.mjs")).arg(format!("http://{admin}/"));
    let output =
        tokio::task::spawn_blocking(move || browser.output().expect("Node")).await.expect("a browser");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n  run `make test`, which installs what this needs");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Whoever looks at it can read it, on a phone too.
fn is_usable(saw: &Value) {
    assert_eq!(saw["errors"], json!([]), "errors in the console");
    for scheme in ["light", "dark"] {
        // WCAG 2.2, 1.4.3: at least 4.5 to 1.
        assert!(saw[scheme]["contrast"].as_f64().is_some_and(|contrast| contrast >= 4.5), "{scheme}: {saw}");
        assert_eq!(saw[scheme]["overflow"], 0, "wider than a phone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_numbers_are_those_of_the_metrics_with_a_thousand_streams_and_anybody_can_use_it() {
    let backend = Backend::script(|mut exchange| async move {
        let Some(head) = exchange.request().await else { return };
        let event = chunk("data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n");
        exchange.send([STREAM_HEAD.as_bytes(), &event].concat()).await;
        if head.starts_with("GET /ends") {
            exchange.send([&chunk("data: [DONE]\n\n")[..], LAST_CHUNK.as_bytes()].concat()).await;
        }
        if head.starts_with("GET /runs") {
            exchange.closed().await;
        }
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    for (path, count) in [("/ends", 3), ("/breaks", 2)] {
        for _ in 0..count {
            let mut client = proxy.client().await;
            client.get(path).await;
            client.text().await;
        }
    }
    let mut running = Vec::new();
    for _ in 0..STREAMS {
        let mut client = Client::connect(proxy.address).await;
        client.get("/runs").await;
        client.chunk().await;
        running.push(client);
    }
    proxy.reaches("sidestream_streams_active{route=\"default\"}", 1000.0).await;
    proxy.reaches("sidestream_streams_total{outcome=\"upstream_reset\",route=\"default\"}", 2.0).await;
    let saw = look_at(proxy.admin).await;

    let own = json!(format!("http://{}", proxy.admin));
    assert!(saw["requests"].as_array().expect("requests").iter().all(|origin| *origin == own), "{saw}");
    let numbers = &saw["numbers"];
    assert_eq!(numbers["state"], "live");
    for (name, series) in [
        ("active", "sidestream_streams_active{route=\"default\"}"),
        ("waiting", "sidestream_streams_waiting{route=\"default\"}"),
        ("started", "sidestream_streams_started_total{route=\"default\"}"),
    ] {
        assert_eq!(numbers[name].as_f64(), Some(proxy.metric(series).await), "{name}");
    }
    assert_eq!(numbers["outcomes"], json!({ "completed": 3, "upstream_reset": 2 }));
    let count = |name: &str| -> u64 {
        let rows = numbers[name].as_array().expect("rows");
        rows.iter().filter_map(|row| row[1].as_u64()).sum()
    };
    let ttft =
        proxy.metric("sidestream_time_to_first_token_seconds_count{model=\"other\",route=\"default\"}").await;
    let gaps = proxy.metric("sidestream_inter_event_seconds_count{route=\"default\"}").await;
    // Counts of this test are far below 2^53.
    #[allow(clippy::cast_precision_loss)]
    {
        assert!((count("ttft") as f64 - ttft).abs() < f64::EPSILON, "{saw}");
        assert!((count("inter_event") as f64 - gaps).abs() < f64::EPSILON, "{saw}");
    }
    assert_eq!((&numbers["slowest"], &numbers["silent"]), (&json!(10), &json!(10)));
    assert_eq!(numbers["servers"], json!(null), "there is one, and it is up");
    assert_eq!(numbers["silent_servers"], json!(vec![Value::Null; 10]), "which is the same in every line");

    is_usable(&saw);
    // One update a second; a busy machine may lose some.
    assert!(saw["updates"].as_u64().is_some_and(|updates| updates >= 3), "{saw}");
    assert_eq!(
        saw["focus"],
        json!([
            "all",
            "minute",
            "slowest-title",
            "silent-title",
            "/metrics",
            "/streams",
            "/healthz",
            "/readyz"
        ])
    );
    assert_eq!((&saw["pressed"], &saw["unnamed"]), (&json!("true"), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_server_is_shown_as_out_and_who_waits_for_the_other_one() {
    let backend = Backend::that_begins(stream_begun("data: 1\n\n")).await;
    let dead = Backend::that_is_down().await;
    let yaml = format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]\nadmin: {{ address: 127.0.0.1:0 }}\naccess_log: off\n\
         upstreams: {{ llm: {{ servers: ['{}', '{}'], balance: round_robin, max_streams: 2, queue: {{ size: 8, timeout: 1m }},\n\
         outlier_detection: {{ consecutive_failures: 1, base_ejection_time: 1m }} }} }}\n",
        backend.url, dead.url
    );
    let proxy = Sidestream::configured(&yaml).await;
    let mut running = Vec::new();
    for _ in 0..2 {
        let mut client = proxy.client().await;
        client.get("/").await;
        client.chunk().await;
        running.push(client);
    }
    let mut waiting = proxy.client().await;
    waiting.send_get("/").await;
    proxy.reaches("sidestream_queue_length{upstream=\"llm\"}", 1.0).await;
    let saw = look_at(proxy.admin).await;

    is_usable(&saw);
    let rows = saw["numbers"]["servers"].as_array().expect("rows");
    let [queue, up, out] = &rows[..] else { panic!("{saw}") };
    assert!(
        queue[0]
            .as_str()
            .is_some_and(|text| text.starts_with("llm · queue 1 of 8, the oldest request waits for ")),
        "{saw}"
    );
    let counted = " · since the start: 1 failover, 1 ejection";
    assert!(queue[0].as_str().is_some_and(|text| text.ends_with(counted)), "{saw}");
    assert_eq!(*up, json!([backend.url, "2", "2", "up"]));
    assert_eq!((&out[0], &out[1], &out[2]), (&json!(dead.url), &json!("0"), &json!("2")));
    assert!(out[3].as_str().is_some_and(|state| state.starts_with("ejected: requests failed; ")), "{saw}");
    // The one that waits has none.
    let mut servers: Vec<_> = saw["numbers"]["silent_servers"].as_array().expect("rows").iter().collect();
    servers.sort_by_key(|server| *server != "–");
    assert_eq!(servers, [&json!("–"), &json!(backend.url), &json!(backend.url)]);
    assert!(saw["focus"].as_array().is_some_and(|focus| focus.contains(&json!("upstreams-title"))), "{saw}");
}
