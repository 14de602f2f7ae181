//! The probe origin sends what was ordered, knows when it did and who has left, and does nothing for those without its token.

use std::net::SocketAddr;

use serde_json::Value;
use sidestream::doctor::order::{MediaType, RunName, Shape, StreamEnd, StreamOrder};
use sidestream::doctor::origin::OriginServer;
use sidestream::doctor::sample;

use crate::kit::{Client, Response, Within, http2, until};

const TOKEN: &str = "a-token-of-these-tests";

/// A probe origin in this process.
struct Origin(SocketAddr);

impl Origin {
    fn start() -> Self {
        let token = TOKEN.parse().expect("a token");
        let server = OriginServer::bind(([127, 0, 0, 1], 0).into(), token).expect("a free port");
        let address = server.address().expect("an address");
        tokio::spawn(server.run(std::future::pending::<()>()));
        Self(address)
    }

    async fn client(&self) -> Client {
        Client::connect(self.0).await
    }

    /// A client that has ordered something.
    async fn ordered(&self, order: impl ToString) -> Client {
        let mut client = self.client().await;
        client.send_get(&target(order)).await;
        client
    }

    /// The head and the body of an answer that has a length.
    async fn asks(&self, order: impl ToString) -> (Response, String) {
        answer(&mut self.ordered(order).await).await
    }

    async fn account(&self, run: &str) -> Value {
        let (response, text) = self.asks(format!("do=account&run={run}")).await;
        assert_eq!(response.status, 200);
        serde_json::from_str(&text).expect("JSON")
    }

    /// Waits until its account says this.
    async fn is(&self, run: &str, state: &str) -> Value {
        let look = async || Some(self.account(run).await).filter(|account| account["state"] == state);
        until(look).soon().await
    }
}

async fn answer(client: &mut Client) -> (Response, String) {
    let response = client.response().await;
    let body = client.body_of(&response).await;
    (response, String::from_utf8(body).expect("UTF-8"))
}

fn target(order: impl ToString) -> String {
    format!("/v1/any?doctor_token={TOKEN}&{}", order.to_string())
}

/// A stream without silences.
fn order(run: &str) -> StreamOrder {
    let zero = std::time::Duration::ZERO;
    let run = RunName::new(run).expect("a name");
    StreamOrder { events: 5, every: zero, first_after: zero, ..StreamOrder::new(run) }
}

fn ms(milliseconds: u64) -> std::time::Duration {
    std::time::Duration::from_millis(milliseconds)
}

/// What numbered events say when they were sent, which is all of them that this test cannot know.
fn time(event: &[u8]) -> f64 {
    let text = std::str::from_utf8(event).expect("UTF-8");
    let after = text.split("\"ms\":").nth(1).expect("a time");
    after.split(',').next().and_then(|ms| ms.parse().ok()).expect("a number")
}

#[tokio::test]
async fn without_the_token_nothing_is_done() {
    let origin = Origin::start();
    for target in [
        "/".to_owned(),
        "/?do=stream&run=a".to_owned(),
        "/?do=stream&run=a&doctor_token=".to_owned(),
        format!("/?do=stream&run=a&doctor_token={TOKEN}x"),
        format!("/?do=echo&doctor_token={}", &TOKEN[..TOKEN.len() - 1]),
        format!("/?do=echo&token={TOKEN}"),
    ] {
        let mut client = origin.client().await;
        client.send_get(&target).await;
        let (response, text) = answer(&mut client).await;
        assert_eq!(response.status, 403, "{target}");
        assert!(text.contains("sidestream doctor") && !text.contains(TOKEN), "{text}");
    }
    let mut client = origin.client().await;
    client.send("OPTIONS /?do=echo HTTP/1.1\r\nHost: t\r\nOrigin: http://page\r\n\r\n").await;
    assert_eq!(answer(&mut client).await.0.status, 403);
    assert_eq!(origin.account("a").await["known"], false);
}

#[tokio::test]
async fn what_is_no_order_is_answered_with_what_is_expected() {
    let origin = Origin::start();
    for (order, message) in [
        ("do=sing", "`do=sing`: expected `echo`, `stream` or `account`"),
        ("do=stream", "`run` is missing"),
        ("do=stream&run=a&size=11", "`size=11`: expected a number from 12 to 65536"),
        ("do=stream&run=a&events=10001", "`events=10001`: expected a number from 1 to 10000"),
        ("do=stream&run=a&size=65536&events=257", "16777216 is the most"),
        ("do=stream&run=a&every=3600000", "3600 s is the most"),
    ] {
        let (response, text) = origin.asks(order).await;
        assert_eq!(response.status, 400, "{order}");
        assert!(text.contains(message), "{text}");
    }
    let mut client = origin.client().await;
    client.send(format!("PUT {} HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n", target("do=echo"))).await;
    assert_eq!(answer(&mut client).await.0.status, 405);
}

#[tokio::test]
async fn an_echo_shows_the_head_as_it_arrived() {
    let origin = Origin::start();
    let target = target("do=echo");
    let mut client = origin.client().await;
    client
        .send(format!("POST {target} HTTP/1.1\r\nHost: t\r\nx-Odd-CASE: 1\r\nX-A: 2\r\nx-odd-case: 3\r\nContent-Length: 2\r\n\r\nhi"))
        .await;
    let (response, text) = answer(&mut client).await;
    assert_eq!(response.field("content-type"), Some("application/json"));
    let echo: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&echo["method"], &echo["version"]), (&"POST".into(), &"HTTP/1.1".into()));
    assert_eq!((&echo["target"], &echo["peer"]), (&target.into(), &"127.0.0.1".into()));
    let fields =
        [["Host", "t"], ["x-Odd-CASE", "1"], ["X-A", "2"], ["x-odd-case", "3"], ["Content-Length", "2"]];
    assert_eq!(echo["fields"], serde_json::json!(fields));
    // The connection goes on.
    client.send_get(&format!("/?doctor_token={TOKEN}&do=echo")).await;
    assert_eq!(answer(&mut client).await.0.status, 200);
}

#[tokio::test]
async fn a_stream_is_what_was_ordered_one_write_an_event() {
    let origin = Origin::start();
    for media_type in [MediaType::EventStream, MediaType::Plain, MediaType::Ndjson] {
        for (size, pieces) in [(12, 1), (200, 1), (200, 3), (20_000, 1)] {
            let order = StreamOrder { media_type, size, pieces, ..order("a") };
            let mut client = origin.ordered(&order).await;
            let response = client.response().await;
            assert_eq!(response.status, 200);
            assert_eq!(response.field("content-type"), Some(media_type.content_type()));
            assert_eq!(response.field("cache-control"), Some("no-cache"));
            assert_eq!(response.field("x-accel-buffering"), None);
            let chunks = client.chunks().await;
            assert_eq!(chunks.len(), (order.events * pieces) as usize);
            for (n, event) in (0..).zip(chunks.chunks(pieces as usize)) {
                let event = event.concat();
                let sent = if size < 64 { 0.0 } else { time(&event) };
                assert_eq!(event, sample::event(&order, n, sent));
            }
        }
    }
}

#[tokio::test]
async fn comments_and_the_sample_arrive_as_they_are_described() {
    let origin = Origin::start();
    let comments = StreamOrder { shape: Shape::Comments, ..order("a") };
    let mut client = origin.ordered(&comments).await;
    client.response().await;
    let chunks = client.chunks().await;
    let is_comment: Vec<bool> = chunks.iter().map(|chunk| chunk.starts_with(b": ")).collect();
    assert_eq!(is_comment, [false, true, true, true, false]);
    assert!(chunks.iter().all(|chunk| chunk.len() == 200));

    let mut client = origin.ordered(StreamOrder { shape: Shape::Sample, ..order("b") }).await;
    client.response().await;
    let writes: Vec<Vec<u8>> = sample::sample().into_iter().flatten().collect();
    assert_eq!(client.chunks().await, writes);
    let account = origin.account("b").await;
    assert_eq!(account["sent_ms"].as_array().map(Vec::len), Some(writes.len() / 3));
}

#[tokio::test]
async fn what_a_response_forbids_is_in_its_head() {
    let origin = Origin::start();
    let order = StreamOrder { forbids_buffering: true, forbids_transforming: true, ..order("a") };
    let response = origin.ordered(order).await.response().await;
    assert_eq!(response.field("x-accel-buffering"), Some("no"));
    assert_eq!(response.field("cache-control"), Some("no-cache, no-transform"));
}

#[tokio::test]
async fn the_account_says_when_everything_was_sent() {
    let origin = Origin::start();
    let order = StreamOrder {
        head_after: ms(30),
        first_after: ms(40),
        every: ms(20),
        last_for: ms(50),
        events: 3,
        ..order("times")
    };
    let mut client = origin.ordered(&order).await;
    client.response().await;
    let chunks = client.chunks().await;
    let account = origin.account("times").await;
    assert_eq!((&account["state"], &account["known"]), (&"finished".into(), &true.into()));
    assert_eq!(account["gone_ms"], Value::Null);
    let number = |value: &Value| value.as_f64().expect("a number");
    let sent: Vec<f64> = account["sent_ms"].as_array().expect("times").iter().map(number).collect();
    let said: Vec<f64> = chunks.iter().map(|chunk| time(chunk)).collect();
    assert!(sent.iter().zip(&said).all(|(sent, said)| (sent - said).abs() <= 0.051), "{sent:?} {said:?}");
    let [head, ended, age] = ["head_ms", "ended_ms", "age_ms"].map(|name| number(&account[name]));
    let times = [0.0, head, sent[0], sent[1], sent[2], ended];
    let silences: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // A timer of whole milliseconds.
    let at_least = [30.0, 40.0, 20.0, 20.0, 50.0];
    assert!(silences.iter().zip(at_least).all(|(silence, least)| *silence >= least - 1.1), "{silences:?}");
    assert!(age >= ended);
}

#[tokio::test]
async fn a_client_that_leaves_is_known_in_every_phase() {
    let origin = Origin::start();
    let long = ms(600_000);
    let in_prefill = StreamOrder { head_after: long, ..order("prefill") };
    let client = origin.ordered(in_prefill).await;
    origin.is("prefill", "running").await;
    drop(client);
    let account = origin.is("prefill", "client_gone").await;
    assert_eq!((&account["head_ms"], &account["ended_ms"]), (&Value::Null, &Value::Null));

    for (run, order) in [
        ("first", StreamOrder { first_after: long, ..order("first") }),
        ("between", StreamOrder { every: long, ..order("between") }),
        ("last", StreamOrder { last_for: long, ..order("last") }),
    ] {
        let mut client = origin.ordered(order).await;
        client.response().await;
        let left = std::time::Instant::now();
        drop(client);
        let account = origin.is(run, "client_gone").await;
        let gone = account["gone_ms"].as_f64().expect("a time");
        assert!(gone <= account["age_ms"].as_f64().expect("a time"), "{account}");
        assert!(left.elapsed() < ms(1000), "{run}: {:?}", left.elapsed());
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_it_takes_nothing_is_known_too() {
    let origin = Origin::start();
    let order = StreamOrder { size: 65_536, events: 200, ..order("full") };
    let mut client = Client::connect_with_window(origin.0, 4096).await;
    client.send_get(&target(order)).await;
    let stuck = async || {
        let before = origin.account("full").await["sent_ms"].as_array().map(Vec::len);
        tokio::time::sleep(ms(100)).await;
        let now = origin.account("full").await["sent_ms"].as_array().map(Vec::len);
        (now > Some(0) && now == before).then_some(())
    };
    until(stuck).soon().await;
    client.reset();
    origin.is("full", "client_gone").await;
}

#[tokio::test]
async fn streams_end_as_they_were_ordered_to() {
    let origin = Origin::start();
    let mut client = origin.ordered(StreamOrder { end: StreamEnd::Reset, ..order("reset") }).await;
    client.response().await;
    for _ in 0..5 {
        client.chunk().await.expect("an event");
    }
    assert!(client.rest().await.is_err(), "a reset");

    let mut client = origin.ordered(StreamOrder { end: StreamEnd::Truncated, ..order("truncated") }).await;
    client.response().await;
    let mut chunks = Vec::new();
    let how = loop {
        match client.chunk_or_end().await {
            Ok(chunk) => chunks.push(chunk.expect("no last chunk")),
            Err(how) => break how,
        }
    };
    assert_eq!(how, "ended");
    assert_eq!(chunks.iter().map(Vec::len).collect::<Vec<_>>(), [200, 200, 200, 200, 200, 100]);
    for run in ["reset", "truncated"] {
        let account = origin.is(run, "finished").await;
        assert_eq!(account["sent_ms"].as_array().map(Vec::len), Some(5));
    }

    // The connection takes another request after a clean one.
    let mut client = origin.ordered(order("clean")).await;
    client.response().await;
    client.chunks().await;
    client.send_get(&target("do=echo")).await;
    assert_eq!(answer(&mut client).await.0.status, 200);
}

#[tokio::test]
async fn over_http10_the_close_ends_the_body() {
    let origin = Origin::start();
    for (run, end) in
        [("clean", StreamEnd::Clean), ("truncated", StreamEnd::Truncated), ("reset", StreamEnd::Reset)]
    {
        let order = StreamOrder { end, size: 12, ..order(run) };
        let mut client = origin.client().await;
        client.send(format!("GET {} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", target(order))).await;
        let response = client.response().await;
        assert_eq!(response.field("transfer-encoding"), None);
        assert_eq!(response.field("content-length"), None);
        let body = client.rest().await;
        match end {
            StreamEnd::Reset => assert!(body.is_err(), "a reset"),
            StreamEnd::Clean => assert_eq!(body.expect("an end").len(), 60),
            StreamEnd::Truncated => assert_eq!(body.expect("an end").len(), 66),
        }
    }
}

#[tokio::test]
async fn over_http2_it_is_the_same_and_a_stream_that_breaks_is_reset() {
    let origin = Origin::start();
    let tcp = tokio::net::TcpStream::connect(origin.0).await.expect("a connection");
    let mut send = http2(tcp).await;
    for (run, end) in
        [("clean", StreamEnd::Clean), ("truncated", StreamEnd::Truncated), ("reset", StreamEnd::Reset)]
    {
        let order = StreamOrder { end, ..order(run) };
        let url = format!("http://t{}", target(order));
        let request = http::Request::get(url).body(()).expect("a request");
        send = send.ready().await.expect("a connection");
        let (response, _) = send.send_request(request, true).expect("a stream");
        let response = response.soon().await.expect("a response");
        assert_eq!(response.status(), 200);
        let (mut body, mut read) = (response.into_body(), 0);
        let reason = loop {
            match body.data().soon().await {
                Some(Ok(data)) => read += data.len(),
                Some(Err(error)) => break error.reason(),
                None => break None,
            }
        };
        match end {
            StreamEnd::Clean => assert_eq!((read, reason), (1000, None)),
            StreamEnd::Truncated => assert_eq!((read, reason), (1100, Some(h2::Reason::INTERNAL_ERROR))),
            StreamEnd::Reset => assert_eq!((read, reason), (1000, Some(h2::Reason::INTERNAL_ERROR))),
        }
        origin.is(run, "finished").await;
    }
    // One that its client resets.
    let order = StreamOrder { every: ms(600_000), ..order("gone") };
    let request = http::Request::get(format!("http://t{}", target(order))).body(()).expect("a request");
    send = send.ready().await.expect("a connection");
    let (response, _) = send.send_request(request, true).expect("a stream");
    drop(response.soon().await.expect("a response"));
    origin.is("gone", "client_gone").await;
}

#[tokio::test]
async fn pages_of_other_origins_may_ask() {
    let origin = Origin::start();
    let mut client = origin.client().await;
    client
        .send(format!(
            "OPTIONS {} HTTP/1.1\r\nHost: t\r\nOrigin: http://page\r\nAccess-Control-Request-Method: POST\r\n\
             Access-Control-Request-Headers: authorization, x-b\r\n\r\n",
            target(order("a"))
        ))
        .await;
    let response = client.response().await;
    assert_eq!(response.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", "http://page"),
        ("access-control-allow-methods", "GET, POST, OPTIONS"),
        ("access-control-allow-headers", "authorization, x-b"),
        ("access-control-max-age", "0"),
    ] {
        assert_eq!(response.field(name), Some(value), "{name}");
    }
    assert_eq!(response.field("content-length"), None);
    for order in [order("a").to_string(), "do=echo".to_owned(), "do=sing".to_owned()] {
        let mut client = origin.client().await;
        client
            .send(format!("GET {} HTTP/1.1\r\nHost: t\r\nOrigin: http://page\r\n\r\n", target(order)))
            .await;
        assert_eq!(client.response().await.field("access-control-allow-origin"), Some("http://page"));
    }
}

#[tokio::test]
async fn the_body_of_a_request_is_read_and_means_nothing() {
    let origin = Origin::start();
    let mut client = origin.client().await;
    let head = |length| {
        format!("POST {} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n", target(order("a")))
    };
    client.send([head(100_000).into_bytes(), vec![b'x'; 100_000]].concat()).await;
    assert_eq!(client.response().await.status, 200);
    assert_eq!(client.chunks().await.len(), 5);
    client.send([head(1_048_577).into_bytes(), vec![b'x'; 1_048_577]].concat()).await;
    assert_eq!(answer(&mut client).await.0.status, 413);
}

#[tokio::test]
async fn so_many_streams_run_at_once_and_no_more() {
    let origin = Origin::start();
    let mut clients = Vec::new();
    for n in 0..256 {
        let mut client =
            origin.ordered(StreamOrder { last_for: ms(600_000), ..order(&format!("run-{n}")) }).await;
        client.response().await;
        clients.push(client);
    }
    let (response, text) = origin.asks(order("late")).await;
    assert_eq!(response.status, 503);
    assert!(text.contains("256 streams run already"), "{text}");
    drop(clients);
    let begins = async || {
        let mut client = origin.ordered(order("late")).await;
        (client.response().await.status == 200).then_some(())
    };
    until(begins).soon().await;
}
