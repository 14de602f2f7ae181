//! Whom a request is from: what a client says of that is believed only from trusted proxies.

use rustix::process::Signal;

use crate::kit::{Backend, Process, Sidestream};

const CHAIN: &str =
    "X-Forwarded-For: 192.0.2.1, 10.0.0.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: example.org\r\n";

async fn seen(trusted: &str) -> String {
    let mut backend = Backend::that_answers("HTTP/1.1 204 No Content\r\n\r\n").await;
    let proxy = Sidestream::before(&backend.url).listener(trusted).start().await;
    let mut client = proxy.client().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: test\r\n{CHAIN}\r\n")).await;
    assert_eq!(client.response().await.status, 204);
    backend.saw_request().await
}

#[tokio::test]
async fn a_client_is_not_believed() {
    for trusted in ["", "trusted_proxies: [10.0.0.0/8, unix]"] {
        let head = seen(trusted).await;
        for field in ["X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: test"] {
            assert!(head.contains(&format!("\r\n{field}\r\n")), "{field} is missing in {head}");
        }
    }
}

#[tokio::test]
async fn a_trusted_proxy_is_believed() {
    for network in ["127.0.0.1", "127.0.0.0/8"] {
        let head = seen(&format!("trusted_proxies: ['{network}']")).await;
        for field in [
            "X-Forwarded-For: 192.0.2.1, 10.0.0.7, 127.0.0.1",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: example.org",
        ] {
            assert!(head.contains(&format!("\r\n{field}\r\n")), "{field} is missing in {head}");
        }
    }
}

#[tokio::test]
async fn the_access_log_names_the_last_that_is_no_trusted_proxy() {
    for (trusted, client) in [("127.0.0.1", "10.0.0.7"), ("127.0.0.1', '10.0.0.0/8", "192.0.2.1")] {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("access.log");
        let backend = Backend::that_answers("HTTP/1.1 204 No Content\r\n\r\n").await;
        let setup = Sidestream::before(&backend.url).access_log(&path);
        let proxy = setup.listener(format!("trusted_proxies: ['{trusted}']")).start().await;
        let mut raw = proxy.client().await;
        raw.send(format!("GET / HTTP/1.1\r\nHost: test\r\n{CHAIN}\r\n")).await;
        assert_eq!(raw.response().await.status, 204);
        drop(raw);
        proxy.stop().await.expect("an end");
        let line = std::fs::read_to_string(&path).expect("a log");
        assert!(line.contains(&format!("\"client.address\":\"{client}\"")), "{line}");
    }
}

/// A header of version 2 for TCP over IPv4, from 192.0.2.9:1234, with something behind the addresses.
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xc0\0\x02\x09\x7f\0\0\x01\x04\xd2\x1f\x90\x04\0\x01\0";

#[tokio::test]
async fn the_proxy_protocol_names_the_client() {
    let mut backend = Backend::that_answers("HTTP/1.1 204 No Content\r\n\r\n").await;
    let keys = "proxy_protocol: true, header_timeout: 500ms";
    let proxy = Sidestream::before(&backend.url).listener(keys).start().await;
    let get = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    for (header, client) in [
        (&b"PROXY TCP4 192.0.2.9 127.0.0.1 1234 8080\r\n"[..], "192.0.2.9"),
        (b"PROXY TCP6 2001:db8::1 ::1 1234 8080\r\n", "2001:db8::1"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (BINARY, "192.0.2.9"),
    ] {
        // In one piece, and in as many as there are bytes.
        for size in [1000, 1] {
            let mut raw = proxy.client().await;
            for piece in [header, get].concat().chunks(size) {
                raw.send(piece).await;
            }
            assert_eq!(raw.response().await.status, 204);
            let head = backend.saw_request().await;
            assert!(head.contains(&format!("\r\nX-Forwarded-For: {client}\r\n")), "{head}");
        }
    }
    // Whoever names nobody is not served.
    for hostile in [&get[..], b"PROXY TCP4 here there 1 2\r\n", &[b'x'; 10_000]] {
        let mut raw = proxy.client().await;
        let _ = raw.try_send(hostile).await;
        assert!(raw.rest().await.unwrap_or_default().is_empty());
    }
}

#[tokio::test]
async fn what_is_dropped_is_told_once_for_each_peer() {
    let backend = Backend::that_answers("HTTP/1.1 204 No Content\r\n\r\n").await;
    let mut process = Process::in_front_of(&backend, "").await;
    let mut client = process.client().await;
    let mut ask = async |fields: &str| {
        client.send(format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n")).await;
        assert_eq!(client.response().await.status, 204);
    };
    ask("").await;
    ask("X-Forwarded-Proto: https\r\n").await;
    let told = process.logs("X-Forwarded-").await;
    assert!(told.contains("`trusted_proxies: [127.0.0.1]`"), "{told}");
    ask("X-Real-IP: 192.0.2.1\r\n").await;
    process.signal(Signal::TERM);
    process.logs("stopping").await;
    assert!(process.ended().await.success());
    assert!(!process.has_logged("trusted_proxies"), "it was told twice");
}
