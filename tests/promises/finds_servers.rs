//! A server is found: where it restarts, where it has several addresses, and where its name leads nowhere.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::kit::{Backend, Process, Sidestream, Within, log_lines, until};

const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";

/// The status and the code that a request is refused with.
async fn refused(proxy: &Sidestream) -> (u16, String) {
    let mut client = proxy.client().await;
    client.send_get("/").await;
    client.refusal().await
}

/// Waits until a series has this value.
async fn sees(proxy: &Sidestream, series: &str, value: f64) {
    until(async || (proxy.metric(series).await == value).then_some(())).soon().await;
}

#[tokio::test]
async fn a_request_waits_for_a_server_that_restarts() {
    let mut backend = Backend::that_answers(NO_CONTENT).await;
    backend.dies().await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let (mut get, mut post) = (proxy.client().await, proxy.client().await);
    get.send_get("/").await;
    post.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n{}").await;
    sees(&proxy, r#"sidestream_streams_waiting{route="default"}"#, 2.0).await;
    backend.comes_back().await;
    for mut client in [get, post] {
        assert_eq!(client.response().await.status, 204);
    }
}

#[tokio::test]
async fn a_request_waits_for_a_unix_socket_that_is_not_there_yet() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("backend.sock");
    let proxy = Sidestream::before(format!("unix:{}", path.display())).start().await;
    let mut client = proxy.client().await;
    client.send_get("/").await;
    sees(&proxy, r#"sidestream_streams_waiting{route="default"}"#, 1.0).await;
    let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
    let (mut connection, _) = listener.accept().soon().await.expect("a connection");
    tokio::io::AsyncWriteExt::write_all(&mut connection, NO_CONTENT.as_bytes()).await.expect("a connection");
    assert_eq!(client.response().await.status, 204);
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_while_its_server_restarts() {
    let mut backend = Backend::that_answers(NO_CONTENT).await;
    backend.dies().await;
    let proxy = Sidestream::before(&backend.url).upstream("connect_timeout: 1m").start().await;
    let mut client = proxy.client().await;
    client.send_get("/").await;
    sees(&proxy, r#"sidestream_streams_waiting{route="default"}"#, 1.0).await;
    drop(client);
    sees(&proxy, r#"sidestream_streams_total{outcome="client_gone",route="default"}"#, 1.0).await;
}

#[tokio::test]
async fn a_server_that_stays_away_is_a_502_that_is_logged_with_its_address() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let log = folder.path().join("access.log");
    let backend = Backend::that_is_down().await;
    let proxy =
        Sidestream::before(&backend.url).upstream("connect_timeout: 300ms").access_log(&log).start().await;
    let began = Instant::now();
    let (status, code) = refused(&proxy).await;
    assert_eq!((status, code.as_str()), (502, "upstream_connect_failed"));
    assert!(began.elapsed() >= Duration::from_millis(100), "it was tried once only: {:?}", began.elapsed());
    assert_eq!(log_lines(&log, 1).await[0]["error.type"], "upstream_connect_failed");
}

#[tokio::test]
async fn a_name_that_does_not_exist_has_an_error_of_its_own() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let log = folder.path().join("access.log");
    let proxy = Sidestream::before("http://nowhere.invalid:80")
        .upstream("connect_timeout: 300ms")
        .access_log(&log)
        .start()
        .await;
    let (status, code) = refused(&proxy).await;
    assert_eq!((status, code.as_str()), (502, "dns_failed"));
    assert_eq!(log_lines(&log, 1).await[0]["error.type"], "dns_failed");
    sees(&proxy, r#"sidestream_upstream_lookups_total{result="failed",upstream="llm"}"#, 1.0).await;
}

#[tokio::test]
async fn a_name_is_looked_up() {
    let backend = Backend::that_answers(NO_CONTENT).await;
    let SocketAddr::V4(address) = backend.address else { panic!("it is on 127.0.0.1") };
    let proxy = Sidestream::before(format!("http://localhost:{}", address.port())).start().await;
    let mut client = proxy.client().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.status, 204);
    }
    assert_eq!(backend.connections(), 1, "an idle connection to an address of the name is used");
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_told_with_what_to_write() {
    let mut backend = Backend::script(|mut exchange| async move {
        exchange.send("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        exchange.rest().await;
    })
    .await;
    backend.url = backend.url.replace("http://", "https://");
    let mut process = Process::in_front_of(&backend, "").await;
    let mut client = process.client().await;
    client.send_get("/").await;
    let logged = process.logs("no connection to the upstream").await;
    assert!(
        logged.contains(&format!("{}: it does not speak TLS: write `http://`", backend.address)),
        "{logged}"
    );
    assert_eq!(client.refusal().await, (502, "upstream_connect_failed".to_owned()));
}

#[tokio::test]
async fn another_interval_of_look_ups_changes_nothing_of_what_is_known() {
    let busy = Backend::that_answers(
        "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let proxy = Sidestream::configured(&format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]\nadmin: {{ address: 127.0.0.1:0 }}\naccess_log: off\nupstreams: {{ llm: {{ servers: \
         [{{ url: 'http://localhost:{}', resolve: 1h }}], keepalive_idle: 1h }} }}\n",
        busy.address.port()
    ))
    .await;
    let states = async || {
        let (_, streams) = proxy.ask_admin("/streams").await;
        let streams: Value = serde_json::from_str(&streams).expect("JSON");
        let servers = streams["upstreams"][0]["servers"].as_array().expect("servers").clone();
        servers.iter().map(|server| (server["address"].clone(), server["state"].clone())).collect::<Vec<_>>()
    };
    let get = async || proxy.client().await.get("/").await.status;
    assert_eq!(get().await, 429);
    assert_eq!(get().await, 429);
    assert_eq!(busy.connections(), 1);
    let before = states().await;
    assert!(before.iter().any(|(_, state)| state == "cooling_down"), "{before:?}");
    proxy.reload(&proxy.yaml.replace("resolve: 1h", "resolve: 2h")).expect("valid");
    assert_eq!(states().await, before);
    if before.len() == 1 {
        assert_eq!(get().await, 429);
        assert_eq!(busy.connections(), 1, "idle connections are kept");
    }
}

#[tokio::test]
async fn a_server_whose_name_leads_nowhere_yet_is_shown_as_unresolved() {
    let proxy = Sidestream::configured(
        "listeners: [{ address: 127.0.0.1:0 }]\nadmin: { address: 127.0.0.1:0 }\naccess_log: off\nupstreams: { llm: { servers: \
         [{ url: 'http://nowhere.invalid:80', resolve: 1h }] } }\n",
    )
    .await;
    let (_, streams) = proxy.ask_admin("/streams").await;
    let streams: Value = serde_json::from_str(&streams).expect("JSON");
    let server = &streams["upstreams"][0]["servers"][0];
    assert_eq!((&server["state"], &server["address"]), (&"unresolved".into(), &Value::Null), "{streams}");
    let up =
        |server: &Value| format!("sidestream_server_up{{server={},upstream=\"llm\"}} 0", server["server"]);
    assert!(proxy.scrape().await.contains(&up(server)));
    let elsewhere = proxy.yaml.replace("nowhere.invalid", "elsewhere.invalid");
    proxy.reload(&elsewhere).expect("valid");
    assert!(!proxy.scrape().await.contains(&up(server)), "it is not configured any more");
}

/// A sidestream before a name that has no address. `resolve` makes each address a server.
async fn before_nowhere(resolve: &str, keys: &str) -> Sidestream {
    Sidestream::configured(&format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]\nadmin: {{ address: 127.0.0.1:0 }}\naccess_log: off\nupstreams: {{ llm: {{ servers: \
         [{{ url: 'http://nowhere.invalid:80'{resolve} }}], {keys} }} }}\n"
    ))
    .await
}

const WAITING: &str = r#"sidestream_streams_waiting{route="default"}"#;

#[tokio::test]
async fn servers_whose_name_does_not_exist_lead_to_an_error_of_its_own() {
    let proxy = before_nowhere(", resolve: 1h", "connect_timeout: 300ms").await;
    assert_eq!(refused(&proxy).await, (502, "dns_failed".to_owned()));
}

#[tokio::test]
async fn a_request_that_waits_for_a_name_ends_with_its_client_or_the_process() {
    for resolve in ["", ", resolve: 1h"] {
        let proxy = before_nowhere(resolve, "connect_timeout: 1m").await;
        let (mut leaves, mut stays) = (proxy.client().await, proxy.client().await);
        leaves.send_get("/").await;
        stays.send_get("/").await;
        sees(&proxy, WAITING, 2.0).await;
        drop(leaves);
        sees(&proxy, r#"sidestream_cancel_propagation_seconds_count{phase="connecting"}"#, 1.0).await;
        let stopped = proxy.stop();
        assert_eq!(stays.refusal().await, (503, "shutting_down".to_owned()), "{resolve}");
        drop(stays);
        stopped.soon().await.expect("a server that stops");
    }
}

#[tokio::test]
async fn requests_that_wait_for_a_name_get_the_servers_that_a_reload_names() {
    let backend = Backend::script(|mut exchange| async move {
        while exchange.request().await.is_some() {
            exchange.wait().await;
            exchange.send(NO_CONTENT).await;
        }
    })
    .await;
    let keys = "connect_timeout: 1m, max_streams: 1, queue: { size: 1 }";
    let proxy = before_nowhere(", resolve: 1h", keys).await;
    let mut clients = Vec::new();
    for number in 1..=3 {
        let mut client = proxy.client().await;
        client.send_get("/").await;
        sees(&proxy, WAITING, f64::from(number)).await;
        clients.push(client);
    }
    let named = format!("localhost:{}", backend.address.port());
    proxy.reload(&proxy.yaml.replace("nowhere.invalid:80", &named)).expect("valid");
    let rejected = r#"sidestream_queue_rejected_total{reason="full",upstream="llm"}"#;
    sees(&proxy, rejected, 1.0).await;
    backend.go_on();
    backend.go_on();
    let mut statuses = Vec::new();
    for mut client in clients {
        statuses.push(client.response().await.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 204, 503], "one is served, one waits, and the queue has no room for another");
}

#[tokio::test]
async fn a_name_is_looked_up_again_if_no_server_is_at_its_addresses() {
    let backend = Backend::that_is_down().await;
    let proxy = Sidestream::before(format!("http://localhost:{}", backend.address.port()))
        .upstream("connect_timeout: 300ms")
        .start()
        .await;
    let looked_up = r#"sidestream_upstream_lookups_total{result="ok",upstream="llm"}"#;
    sees(&proxy, looked_up, 1.0).await;
    let began = Instant::now();
    assert_eq!(refused(&proxy).await.0, 502);
    until(async || (proxy.metric(looked_up).await > 1.0).then_some(())).soon().await;
    // Without a failure, the next look-up is 10 s after the first one.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}
