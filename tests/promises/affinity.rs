//! `balance: hash`: requests of the same key go to the same server, whatever carries the key, and their bodies arrive whole.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use crate::kit::{Backend, Client, LAST_CHUNK, Sidestream, Within, chunk, http2, log_lines};

/// A server that answers with its number and the body that it got.
async fn server(number: usize) -> Backend {
    Backend::script(move |mut exchange| async move {
        while let Some(head) = exchange.request().await {
            if head.contains("Expect") {
                exchange.send("HTTP/1.1 100 Continue\r\n\r\n").await;
            }
            let Some(body) = exchange.connection.body_of(&head).await else { return };
            let length = body.len();
            exchange
                .send(format!("HTTP/1.1 200 OK\r\nServer: {number}\r\nContent-Length: {length}\r\n\r\n"))
                .await;
            exchange.send(body).await;
        }
    })
    .await
}

async fn four() -> Vec<Backend> {
    let mut servers = Vec::new();
    for number in 0..4 {
        servers.push(server(number).await);
    }
    servers
}

/// A sidestream before these that spreads requests by these keys; `keys`: further ones of the upstream.
async fn before(servers: &[Backend], by: &str, keys: &str) -> Sidestream {
    let urls: Vec<_> = servers.iter().map(|server| server.url.as_str()).collect();
    let keys = format!("balance: hash, hash: {{ key: [{by}] }}, {keys}");
    Sidestream::before(urls.join("', '")).upstream(keys).stream("first_event_timeout: 1s").start().await
}

/// Reads the answer; returns the number of the server and the body.
async fn answer(client: &mut Client) -> (String, Vec<u8>) {
    let response = client.response().await;
    assert_eq!(response.status, 200);
    (response.field("server").expect("a number").to_owned(), client.body_of(&response).await)
}

/// Which server gets a request with these fields and this body.
async fn chosen(proxy: &Sidestream, fields: &str, body: &str) -> String {
    let mut client = proxy.client().await;
    let head = format!("POST / HTTP/1.1\r\nHost: test\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    client.send(head + body).await;
    let (server, got) = answer(&mut client).await;
    assert_eq!(got, body.as_bytes());
    server
}

/// Choices for a key.
async fn by_key(proxy: &Sidestream, servers: &[Backend]) -> f64 {
    let mut count = 0.0;
    for server in servers {
        let labels = format!("reason=\"affinity\",server=\"{}\",upstream=\"llm\"", server.url);
        count += proxy.metric(&format!("sidestream_server_selected_total{{{labels}}}")).await;
    }
    count
}

/// The fields and the body of a request that has this key.
type Request = fn(usize) -> (String, String);

#[tokio::test]
async fn the_same_key_goes_to_the_same_server_and_other_keys_spread() {
    let servers = four().await;
    let cases: [(&str, Request); 5] = [
        ("header:x-session-id", |key| (format!("X-Session-Id: {key}\r\n"), String::new())),
        ("cookie:session", |key| (format!("Cookie: a=b; session={key}; c=d\r\n"), "{}".to_owned())),
        ("body:prompt_cache_key", |key| {
            (String::new(), format!(r#"{{"a":[1],"prompt_cache_key":"{key}"}}"#))
        }),
        ("body:user", |key| (String::new(), format!(r#"{{"user":{key},"stream":false}}"#))),
        ("body:none, header:x-none, cookie:session", |key| {
            (format!("Cookie: session={key}\r\n"), r#"{"prompt":"x"}"#.to_owned())
        }),
    ];
    for (by, request) in cases {
        let (proxy, other) = (before(&servers, by, "").await, before(&servers, by, "").await);
        let mut all = BTreeSet::new();
        for key in 0..40 {
            let (fields, body) = request(key);
            let first = chosen(&proxy, &fields, &body).await;
            assert_eq!(chosen(&proxy, &fields, &body).await, first, "{by}: {key}");
            assert_eq!(chosen(&other, &fields, &body).await, first, "another process: {by}: {key}");
            all.insert(first);
        }
        assert_eq!(all.len(), 4, "{by}");
        assert_eq!(by_key(&proxy, &servers).await, 80.0, "{by}");
    }
}

#[tokio::test]
async fn the_address_is_the_one_that_a_trusted_proxy_tells() {
    let servers = four().await;
    let urls: Vec<_> = servers.iter().map(|server| server.url.as_str()).collect();
    let setup = Sidestream::before(urls.join("', '")).upstream("balance: hash, hash: { key: address }");
    let trusting = setup.listener("trusted_proxies: [127.0.0.1]").start().await;
    let others = before(&servers, "address", "").await;
    let [mut told, mut not_believed] = [BTreeSet::new(), BTreeSet::new()];
    for number in 0..40 {
        let fields = format!("X-Forwarded-For: 192.0.2.{number}\r\n");
        let first = chosen(&trusting, &fields, "").await;
        assert_eq!(chosen(&trusting, &fields, "").await, first);
        told.insert(first);
        not_believed.insert(chosen(&others, &fields, "").await);
    }
    assert_eq!((told.len(), not_believed.len()), (4, 1));
}

#[tokio::test]
async fn requests_without_a_key_are_spread_by_their_number() {
    let servers = four().await;
    let by = "header:x-session-id, cookie:session, body:user";
    let proxy = before(&servers, by, "").await;
    for (fields, body) in [
        ("", ""),
        ("", "hello"),
        ("", "[1]"),
        ("", r#"{"user":null}"#),
        ("", r#"{"a":{"user":"u"}}"#),
        ("X-Session-Id: \r\nCookie: session=\r\n", "{}"),
    ] {
        chosen(&proxy, fields, body).await;
    }
    assert_eq!(by_key(&proxy, &servers).await, 0.0);
}

#[tokio::test]
async fn a_key_in_the_body_is_found_whatever_its_segments_and_chunks() {
    let servers = four().await;
    let proxy = before(&servers, "body:session", "").await;
    for key in 0..8 {
        let body = format!(r#"{{"messages":[{{"content":"héllo"}}],"session":"key-{key}","stream":true}}"#);
        let whole = chosen(&proxy, "", &body).await;
        for size in [1, 7, 40] {
            let mut client = proxy.client().await;
            let length = body.len();
            client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n")).await;
            for segment in body.as_bytes().chunks(size) {
                client.send(segment).await;
                tokio::task::yield_now().await;
            }
            assert_eq!(answer(&mut client).await, (whole.clone(), body.clone().into()), "segments of {size}");
            client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            for segment in body.as_bytes().chunks(size) {
                client.send(chunk(segment)).await;
                tokio::task::yield_now().await;
            }
            client.send(LAST_CHUNK).await;
            assert_eq!(answer(&mut client).await, (whole.clone(), body.clone().into()), "chunks of {size}");
        }
    }
}

#[tokio::test]
async fn a_client_of_http2_gets_the_same_server() {
    let servers = four().await;
    let proxy = before(&servers, "cookie:session, body:session", "").await;
    let client = http2(proxy.client().await.into_io()).await;
    for key in 0..8 {
        let body = format!(r#"{{"messages":["hello"],"session":"key-{key}","stream":true}}"#);
        let of_body = chosen(&proxy, "", &body).await;
        let of_cookie = chosen(&proxy, &format!("Cookie: session={key}\r\n"), "").await;
        for (cookie, server) in [(None, of_body), (Some(key), of_cookie)] {
            let mut request = http::Request::post("http://test/");
            if let Some(key) = cookie {
                request = request.header("cookie", "a=b").header("cookie", format!("session={key}"));
            }
            let mut client = client.clone().ready().await.expect("a connection");
            let request = request.body(()).expect("a request");
            let (response, mut upload) = client.send_request(request, false).expect("a stream");
            for frame in body.as_bytes().chunks(9) {
                upload.send_data(Bytes::copy_from_slice(frame), false).expect("a stream");
                tokio::task::yield_now().await;
            }
            upload.send_data(Bytes::new(), true).expect("a stream");
            let response = response.soon().await.expect("a response");
            assert_eq!(response.headers()["server"], server);
            let (mut stream, mut got) = (response.into_body(), Vec::new());
            while let Some(data) = stream.data().soon().await {
                got.extend_from_slice(&data.expect("a frame"));
            }
            assert_eq!(got, body.as_bytes());
        }
    }
}

/// A prompt of so many bytes that repeats nothing, so that no piece of it could be lost, doubled or moved unseen.
fn prompt(length: usize) -> String {
    let mut prompt: String = (0..length / 8).map(|number| format!("{number:08x}")).collect();
    prompt.truncate(length);
    prompt
}

#[tokio::test]
async fn a_key_after_a_long_prompt_is_not_waited_for_and_the_body_arrives_whole() {
    let servers = four().await;
    let proxy = before(&servers, "body:session, header:x-session-id", "").await;
    for (length, is_found) in [(60 * 1024, true), (100 * 1024, false), (3 << 20, false)] {
        let begin = format!(r#"{{"prompt":"{}""#, prompt(length));
        let end = r#","session":"a"}"#;
        let mut client = proxy.client().await;
        let all = begin.len() + end.len();
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {all}\r\n\r\n")).await;
        let before = by_key(&proxy, &servers).await;
        let (body, sent) = (begin.clone() + end, begin.clone());
        client.send(&sent).await;
        client.send(end).await;
        assert_eq!(answer(&mut client).await.1, body.as_bytes(), "{length}");
        let found = by_key(&proxy, &servers).await - before;
        assert_eq!(found, if is_found { 1.0 } else { 0.0 }, "{length}");
        // The next key stands in for it.
        let of_header = chosen(&proxy, "X-Session-Id: x\r\n", "").await;
        let server = chosen(&proxy, "X-Session-Id: x\r\n", &body).await;
        assert!(is_found || server == of_header, "{length}");
    }
}

#[tokio::test]
async fn a_body_that_was_read_for_its_key_arrives_whole_over_http2_too() {
    let server = Backend::script_http2(|mut exchange| async move {
        let body = exchange.body().await;
        exchange.begin("text/plain").send_data(body.into(), true).expect("a stream");
    })
    .await;
    let proxy = before(std::slice::from_ref(&server), "body:session", "").await;
    for length in [10, 60_000, 300_000] {
        let body = format!(r#"{{"prompt":"{}","session":"a"}}"#, prompt(length));
        let mut client = proxy.client().await;
        let length = body.len();
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n")).await;
        client.send(&body).await;
        assert_eq!(client.response().await.status, 200);
        assert_eq!(client.text().await, body);
    }
}

#[tokio::test]
async fn what_cannot_have_the_key_is_passed_on_at_once() {
    let mut server = server(0).await;
    let proxy = before(std::slice::from_ref(&server), "body:session", "").await;
    for begin in ["hello", "[1", r#"{"session":"a""#, r#"{} "#] {
        let mut client = proxy.client().await;
        client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        client.send(chunk(begin)).await;
        // The end of the body comes when its head is there.
        server.saw_request().await;
        client.send([chunk("end"), LAST_CHUNK.into()].concat()).await;
        assert_eq!(answer(&mut client).await.1, format!("{begin}end").into_bytes());
    }
    // Nothing of a body comes before the server has asked for it.
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n").await;
    assert_eq!(client.response().await.status, 100);
    client.send("{}").await;
    assert_eq!(answer(&mut client).await.1, b"{}");
}

#[tokio::test]
async fn a_client_that_leaves_or_is_silent_before_its_key_frees_all() {
    let (server, folder) = (server(0).await, TempDir::new().expect("a folder"));
    let log = folder.path().join("access.log");
    let setup = Sidestream::before(&server.url).upstream("balance: hash, hash: { key: body:session }");
    let proxy = setup.stream("first_event_timeout: 400ms").access_log(&log).start().await;
    let begin = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n{\"a\":";
    let mut client = proxy.client().await;
    client.send(begin).await;
    proxy.reaches("sidestream_streams_waiting{route=\"default\"}", 1.0).await;
    client.reset();
    let left = log_lines(&log, 1).await.remove(0);
    assert_eq!((&left["outcome"], &left["phase"]), (&"client_gone".into(), &"connecting".into()), "{left}");
    let mut client = proxy.client().await;
    client.send(begin).await;
    assert_eq!(client.refusal().await, (408, "body_timeout".to_owned()));
    // Whoever sends on is not silent.
    let mut client = proxy.client().await;
    client.send(begin).await;
    for byte in b"                                                       ".iter().take(8) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.send([*byte]).await;
    }
    client.send(format!("1{}}}", " ".repeat(85))).await;
    assert_eq!(answer(&mut client).await.1.len(), 100);
    assert_eq!(server.connections(), 1);
}

/// A server that answers 503 to the first request that it or another one gets, when it has read so much of its body, and then
/// answers with what it has got.
async fn that_refuses_once(has_refused: Arc<AtomicBool>, after: usize) -> Backend {
    Backend::script(move |mut exchange| {
        let has_refused = has_refused.clone();
        async move {
            while let Some(head) = exchange.request().await {
                if !has_refused.swap(true, Ordering::SeqCst) {
                    exchange.body(after).await;
                    exchange.send("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").await;
                    exchange.rest().await;
                    return;
                }
                let Some(body) = exchange.connection.body_of(&head).await else { return };
                let length = body.len();
                exchange
                    .send(format!("HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: {length}\r\n\r\n"))
                    .await;
                exchange.send(body).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn over_failover_the_body_arrives_whole_and_once() {
    const FAILOVER: &str = "failover: { on: [503], max_body: 1MiB }";
    for (length, after, keys) in [
        (10_000, 10_000, FAILOVER),
        (300_000, 0, FAILOVER),
        (300_000, 50_000, FAILOVER),
        (900_000, 900_000, FAILOVER),
        (50_000, 50_000, "failover: { on: [503], max_body: 50KiB }"),
    ] {
        let has_refused = Arc::new(AtomicBool::new(false));
        let servers = [
            that_refuses_once(has_refused.clone(), after).await,
            that_refuses_once(has_refused, after).await,
        ];
        let proxy = before(&servers, "body:session", keys).await;
        let begin = r#"{"session":"a","prompt":""#;
        let body = format!("{begin}{}\"}}", prompt(length - begin.len() - 2));
        let mut client = proxy.client().await;
        client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        for piece in body.as_bytes().chunks(5000) {
            client.send(chunk(piece)).await;
        }
        client.send(LAST_CHUNK).await;
        let (_, got) = answer(&mut client).await;
        assert!(got == body.as_bytes(), "{length} {after}: {} bytes", got.len());
    }
}

#[tokio::test]
async fn what_is_larger_than_max_body_is_not_sent_again() {
    let has_refused = Arc::new(AtomicBool::new(false));
    let servers =
        [that_refuses_once(has_refused.clone(), 20_000).await, that_refuses_once(has_refused, 20_000).await];
    let proxy = before(&servers, "body:session", "failover: { on: [503], max_body: 10KiB }").await;
    let mut client = proxy.client().await;
    let body = prompt(20_000);
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 20000\r\n\r\n{body}")).await;
    assert_eq!(client.response().await.status, 503);
}

#[tokio::test]
async fn a_malformed_body_before_its_key_is_rejected() {
    let server = server(0).await;
    let setup = Sidestream::before(&server.url).upstream("balance: hash, hash: { key: body:session }");
    let proxy = setup.start().await;
    let mut client = proxy.client().await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\nno size\r\n",
        )
        .await;
    assert_eq!(client.refusal().await, (400, "malformed_body".to_owned()));
    assert_eq!(server.connections(), 0);
}
