//! `limits.per_client`: a client has no more streams at once than it may, and what it has ended counts no longer.

use serde_json::Value;
use tempfile::TempDir;

use crate::kit::{
    Backend, Call, Client, LAST_CHUNK, Response, STREAM_HEAD, Sidestream, UPGRADE, Within, chunk, http2,
    log_lines, stream_begun, until,
};

const TWO: &str = "limits: { per_client: { key: header:authorization, max_streams: 2 } }";
const ONE: &str = "limits: { per_client: { key: header:authorization, max_streams: 1 } }";
const REFUSED: &str = r#"sidestream_requests_total{route="default",status="429"}"#;

/// Begins a stream on each connection, and ends it when it is told to.
async fn that_streams() -> Backend {
    Backend::script(|mut exchange| async move {
        exchange.whole_request().await;
        exchange.send(stream_begun("data: 1\n\n")).await;
        tokio::select! {
            () = exchange.cues.wait() => exchange.connection.send(LAST_CHUNK.as_bytes()).await.expect("a client"),
            _ = exchange.connection.read_more() => {}
        }
    })
    .await
}

async fn asks_on(proxy: &Sidestream, path: &str, who: &str) -> Client {
    let mut client = proxy.client().await;
    client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n{who}\r\n")).await;
    client
}

/// Sends a request with this field.
async fn asks(proxy: &Sidestream, who: &str) -> Client {
    asks_on(proxy, "/", who).await
}

/// Begins a stream.
async fn streams(proxy: &Sidestream, who: &str) -> Client {
    let mut client = asks(proxy, who).await;
    assert_eq!(client.response().await.status, 200, "{who}");
    client.chunk().await;
    client
}

async fn is_refused(proxy: &Sidestream, who: &str) -> Response {
    let mut client = asks(proxy, who).await;
    let response = client.response().await;
    assert_eq!((response.status, response.field("retry-after")), (429, Some("1")), "{who}");
    let body: Value = serde_json::from_slice(&client.body_of(&response).await).expect("JSON");
    assert_eq!(body["error"]["code"], "too_many_streams");
    assert_eq!(body["error"]["type"], "rate_limit_error");
    response
}

/// Waits until a client may have another stream, and begins it.
async fn gets_a_stream(proxy: &Sidestream, who: &str) -> Client {
    let look = async || {
        let mut client = asks(proxy, who).await;
        let is_begun = client.response().await.status == 200;
        is_begun.then_some(client)
    };
    until(look).soon().await
}

const A: &str = "Authorization: Bearer a\r\n";
const B: &str = "Authorization: Bearer b\r\n";

#[tokio::test]
async fn one_stream_too_many_is_refused_and_nobody_else() {
    let (backend, folder) = (that_streams().await, TempDir::new().expect("a folder"));
    let log = folder.path().join("access.log");
    let proxy = Sidestream::before(&backend.url).more(TWO).access_log(&log).start().await;
    let _two = [streams(&proxy, A).await, streams(&proxy, A).await];
    is_refused(&proxy, A).await;
    assert_eq!(proxy.metric(REFUSED).await, 1.0);
    let line = log_lines(&log, 1).await.remove(0);
    assert_eq!(
        (&line["http.response.status_code"], &line["error.type"], &line["outcome"], &line["ended_by"]),
        (&429.into(), &"too_many_streams".into(), &"shed".into(), &"proxy".into()),
        "{line}"
    );
    assert!(!line.to_string().contains("Bearer"), "{line}");
    let _others = [streams(&proxy, B).await, streams(&proxy, B).await];
    is_refused(&proxy, B).await;
    let _unknown = [streams(&proxy, "").await, streams(&proxy, "").await, streams(&proxy, "").await];
    assert_eq!(backend.connections(), 7);
}

#[tokio::test]
async fn whatever_ends_a_stream_its_place_is_free_again() {
    let backend = that_streams().await;
    let proxy = Sidestream::before(&backend.url).more(ONE).start().await;
    for _ in 0..3 {
        let mut client = gets_a_stream(&proxy, A).await;
        is_refused(&proxy, A).await;
        // It is complete.
        backend.go_on();
        client.text().await;
        // It leaves while it streams.
        let client = gets_a_stream(&proxy, A).await;
        is_refused(&proxy, A).await;
        client.reset();
    }
    gets_a_stream(&proxy, A).await;
}

#[tokio::test]
async fn a_client_that_leaves_before_its_answer_counts_no_longer() {
    for (keys, series) in [
        ("", "sidestream_streams_waiting{route=\"default\"}"),
        ("max_streams: 1, queue: { size: 5 }", "sidestream_queue_length{upstream=\"llm\"}"),
    ] {
        let mut backend = Backend::that_never_answers().await;
        let proxy = Sidestream::before(&backend.url).upstream(keys).more(ONE).start().await;
        let first = asks(&proxy, B).await;
        backend.saw_request().await;
        let already = proxy.metric(series).await;
        for _ in 0..3 {
            let client = asks(&proxy, A).await;
            proxy.reaches(series, already + 1.0).await;
            is_refused(&proxy, A).await;
            client.reset();
            proxy.reaches(series, already).await;
        }
        // Whoever waits now is not refused.
        let client = asks(&proxy, A).await;
        proxy.reaches(series, already + 1.0).await;
        drop((first, client));
    }
}

#[tokio::test]
async fn failures_of_the_backend_free_the_place_too() {
    let backend = Backend::that_begins("this is no HTTP\r\n\r\n").await;
    let proxy = Sidestream::before(&backend.url).more(ONE).start().await;
    for _ in 0..3 {
        let look = async || {
            let status = asks(&proxy, A).await.response().await.status;
            (status != 429).then_some(status)
        };
        assert_eq!(until(look).soon().await, 502);
    }
}

#[tokio::test]
async fn streams_of_http2_and_websockets_count_as_well() {
    let backend = that_streams().await;
    let proxy = Sidestream::before(&backend.url).more(TWO).start().await;
    let client = http2(proxy.client().await.into_io()).await;
    let ask = async |who: &str| {
        let mut client = client.clone().ready().await.expect("a connection");
        let request =
            http::Request::get("http://test/").header("authorization", who).body(()).expect("a request");
        client.send_request(request, true).expect("a stream").0.soon().await.expect("a response")
    };
    let (one, two) = (ask("Bearer a").await, ask("Bearer a").await);
    let refused = ask("Bearer a").await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["retry-after"]),
        (429, &"1".parse().expect("a value"))
    );
    assert_eq!(ask("Bearer b").await.status(), 200);
    is_refused(&proxy, A).await;
    drop(one);
    gets_a_stream(&proxy, A).await;
    drop(two);

    let backend = Backend::that_echoes().await;
    let proxy = Sidestream::before(&backend.url).more(ONE).start().await;
    let upgrade = UPGRADE.replacen("\r\n\r\n", &format!("\r\n{A}\r\n"), 1);
    for _ in 0..3 {
        let look = async || {
            let mut client = proxy.client().await;
            client.send(&upgrade).await;
            (client.response().await.status == 101).then_some(client)
        };
        let tunnel = until(look).soon().await;
        is_refused(&proxy, A).await;
        let mut other = proxy.client().await;
        other.send(&upgrade).await;
        assert_eq!(other.refusal().await, (429, "too_many_streams".to_owned()));
        tunnel.reset();
    }
}

#[tokio::test]
async fn a_call_of_grpc_is_refused_in_its_own_form() {
    let backend = Backend::script_http2(|mut exchange| async move {
        let mut stream = exchange.begin("application/grpc");
        exchange.reset(Some(&mut stream)).await;
    })
    .await;
    let proxy = Sidestream::before(&backend.url).more(ONE).start().await;
    let mut first = Call::begin(&proxy, &[("authorization", "a")]).await;
    let _running = first.head().await;
    let answer = Call::begin(&proxy, &[("authorization", "a")]).await.answer().await;
    assert_eq!((answer.head.status().as_u16(), answer.status().0), (200, 8));
}

#[tokio::test]
async fn a_body_that_was_not_read_ends_the_connection_of_a_refused_request() {
    let backend = that_streams().await;
    let proxy = Sidestream::before(&backend.url).more(ONE).start().await;
    let _one = streams(&proxy, A).await;
    let mut client = proxy.client().await;
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{A}Content-Length: 10\r\n\r\nhello")).await;
    let response = client.response().await;
    assert_eq!((response.status, response.field("connection")), (429, Some("close")));
    // Where it was read, the connection serves on.
    let mut client = proxy.client().await;
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{A}Content-Length: 5\r\n\r\nhello")).await;
    assert_eq!(client.refusal().await.0, 429);
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn a_route_has_a_limit_of_its_own_or_none() {
    let backend = that_streams().await;
    let routes = "routes: [
        { match: { path: /own }, upstream: llm, limits: { per_client: { key: header:x-tenant, max_streams: 1 } } },
        { match: { path: /off }, upstream: llm, limits: { per_client: off } },
        { match: { path: /one }, upstream: llm },
        { match: { path: /two }, upstream: llm }]";
    let proxy = Sidestream::before(&backend.url).more(format!("{ONE}\n{routes}")).start().await;
    let who = format!("{A}X-Tenant: a\r\n");
    let mut running = Vec::new();
    for (path, status) in [
        ("/one", 200),
        ("/two", 429),
        ("/one", 429),
        ("/own", 200),
        ("/own", 429),
        ("/off", 200),
        ("/off", 200),
    ] {
        let mut client = asks_on(&proxy, path, &who).await;
        assert_eq!(client.response().await.status, status, "{path}");
        running.push(client);
    }
}

#[tokio::test]
async fn clients_may_be_told_apart_by_their_addresses() {
    let backend = that_streams().await;
    let limits = "limits: { per_client: { key: address, max_streams: 1 } }";
    let setup = Sidestream::before(&backend.url).listener("trusted_proxies: [127.0.0.1]");
    let proxy = setup.more(limits).start().await;
    let _one = streams(&proxy, "X-Forwarded-For: 192.0.2.1\r\n").await;
    is_refused(&proxy, "X-Forwarded-For: 192.0.2.1\r\n").await;
    let _two = streams(&proxy, "X-Forwarded-For: 192.0.2.2\r\n").await;
    let _three = streams(&proxy, "").await;
    is_refused(&proxy, A).await;
}

#[tokio::test]
async fn a_reload_forgets_no_stream() {
    let backend = that_streams().await;
    let proxy = Sidestream::before(&backend.url).more(TWO).start().await;
    let two = [streams(&proxy, A).await, streams(&proxy, A).await];
    proxy.reload(&proxy.yaml).expect("a configuration");
    is_refused(&proxy, A).await;
    proxy.reload(&proxy.yaml.replace("max_streams: 2", "max_streams: 3")).expect("a configuration");
    let _third = streams(&proxy, A).await;
    is_refused(&proxy, A).await;
    proxy.reload(&proxy.yaml).expect("a configuration");
    drop(two);
    gets_a_stream(&proxy, A).await;
}

#[tokio::test]
async fn an_answer_that_is_no_stream_counts_for_as_long_as_it_runs() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(STREAM_HEAD.replace("text/event-stream", "text/plain")).await;
        exchange.send(chunk("a")).await;
        exchange.wait().await;
        exchange.send(LAST_CHUNK).await;
    })
    .await;
    let proxy = Sidestream::before(&backend.url).more(ONE).start().await;
    let mut one = streams(&proxy, A).await;
    is_refused(&proxy, A).await;
    backend.go_on();
    one.text().await;
    gets_a_stream(&proxy, A).await;
}
