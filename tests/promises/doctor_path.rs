//! A listener's `doctor_path` is a probe origin, and everything else there goes to its routes.

use crate::kit::{Backend, Client, Process, Sidestream};

const TOKEN: &str = "a-token-of-these-tests";
const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// Asks for a head that comes back; returns the status.
async fn echo(client: &mut Client, path: &str, token: &str) -> u16 {
    let response = client.get(&format!("{path}?doctor_token={token}&do=echo")).await;
    client.body_of(&response).await;
    response.status
}

fn probe_at(path: &str) -> String {
    format!("doctor_path: {path}, doctor_token: {TOKEN}")
}

#[tokio::test]
async fn it_is_an_origin_there_and_nowhere_else() {
    let backend = Backend::that_answers(HELLO).await;
    let proxy = Sidestream::before(&backend.url).listener(probe_at("/probe")).start().await;
    let mut client = proxy.client().await;
    for path in ["/probe", "/probe/", "/probe/v1/any"] {
        let order = "do=stream&run=a&first_after=0&every=0&events=2";
        let response = client.get(&format!("{path}?doctor_token={TOKEN}&{order}")).await;
        assert_eq!(response.field("content-type"), Some("text/event-stream; charset=utf-8"));
        assert_eq!(client.chunks().await.len(), 2);
        // The next request of the connection goes to a route.
        for path in ["/", "/probed", "/x/probe"] {
            let response = client.get(path).await;
            assert_eq!(client.body_of(&response).await, b"hello", "{path}");
        }
    }
    assert_eq!(echo(&mut client, "/probe", "another").await, 403);
    let counted =
        |route, status| format!("sidestream_requests_total{{route=\"{route}\",status=\"{status}\"}}");
    for (route, status, count) in [("none", 200, 3.0), ("none", 403, 1.0), ("default", 200, 9.0)] {
        proxy.reaches(&counted(route, status), count).await;
    }
    // None of it was a stream of a route.
    let (_, streams) = proxy.ask_admin("/streams").await;
    assert!(streams.starts_with("{\"streams\":[],"), "{streams}");
}

#[tokio::test]
async fn without_the_key_nothing_is_an_origin() {
    let backend = Backend::that_answers(HELLO).await;
    for keys in ["", "doctor_path: off", "doctor_path: null", &format!("doctor_token: {TOKEN}")] {
        let proxy = Sidestream::before(&backend.url).listener(keys).start().await;
        let mut client = proxy.client().await;
        let response = client.get(&format!("/?doctor_token={TOKEN}&do=echo")).await;
        assert_eq!(client.body_of(&response).await, b"hello", "{keys}");
    }
}

#[tokio::test]
async fn a_reload_moves_it_and_gives_it_another_token() {
    let backend = Backend::that_answers(HELLO).await;
    let proxy = Sidestream::before(&backend.url).start().await;
    let with = |keys: &str| proxy.yaml.replace("127.0.0.1:0', ", &format!("127.0.0.1:0', {keys}"));
    let mut client = proxy.client().await;
    let is_there = async |client: &mut Client, path: &str| {
        let response = client.get(&format!("{path}?doctor_token={TOKEN}&do=echo")).await;
        client.body_of(&response).await != b"hello"
    };
    assert!(!is_there(&mut client, "/probe").await);
    assert!(proxy.reload(&with(&probe_at("/probe"))).expect("a valid configuration").is_empty());
    assert!(is_there(&mut client, "/probe").await);
    proxy.reload(&with(&probe_at("/other/"))).expect("a valid configuration");
    assert!(!is_there(&mut client, "/probe").await);
    assert!(is_there(&mut client, "/other").await);
    proxy
        .reload(&with("doctor_path: /other, doctor_token: 0123456789abcdef"))
        .expect("a valid configuration");
    assert_eq!(echo(&mut client, "/other", TOKEN).await, 403);
    assert_eq!(echo(&mut client, "/other", "0123456789abcdef").await, 200);
    proxy.reload(&with("")).expect("a valid configuration");
    assert!(!is_there(&mut client, "/other").await);
}

#[tokio::test]
async fn the_end_of_the_process_does_not_wait_for_its_streams() {
    let backend = Backend::that_answers(HELLO).await;
    let proxy = Sidestream::before(&backend.url).listener(probe_at("/probe")).start().await;
    let mut client = proxy.client().await;
    client.get(&format!("/probe?doctor_token={TOKEN}&do=stream&run=a&last_for=600000&events=1")).await;
    client.chunk().await.expect("an event");
    let stopped = proxy.stop();
    assert_eq!(client.chunk_or_end().await, Err("ended"));
    stopped.await.expect("an end");
}

#[tokio::test]
async fn a_token_that_nobody_gave_is_random_and_in_the_log() {
    let backend = Backend::that_answers(HELLO).await;
    let mut process = Process::start(&backend, "", "127.0.0.1:0, doctor_path: /probe", Vec::new()).await;
    process.configure_listener(&backend, "127.0.0.1:0, doctor_path: /other");
    process.signal(rustix::process::Signal::HUP);
    let line = process.logs("a probe origin").await;
    assert!(line.contains("path=\"/other\""), "{line}");
    let token = line.split("token=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a token");
    assert_eq!(token.len(), 32);
    process.logs("read again").await;
    let mut client = process.client().await;
    assert_eq!(echo(&mut client, "/other", token).await, 200);
    assert_eq!(echo(&mut client, "/other", TOKEN).await, 403);
}
