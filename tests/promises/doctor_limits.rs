//! The doctor finds out how many streams a hop carries at once, and calls only fewer than usual a fault.

use std::future::poll_fn;
use std::io::{Read, Write, copy};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use serde_json::{Value, json};

use crate::kit::Sidestream;
use crate::kit::doctor::{PROBE_TOKEN, ProbeOrigin, doctor, found, probed};

/// Starts a hop that speaks HTTP/2 and allows so many streams on a connection; `None`: its SETTINGS name no limit. It has a
/// connection to the origin for each stream, and lasts as long as the process.
fn http2_hop(limit: Option<u32>, origin: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    thread::spawn(move || {
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, limit, origin));
            }
        });
    });
    address
}

async fn serve(client: tokio::net::TcpStream, limit: Option<u32>, origin: SocketAddr) {
    client.set_nodelay(true).expect("a socket");
    let mut server = h2::server::Builder::new();
    if let Some(limit) = limit {
        server.max_concurrent_streams(limit);
    }
    let Ok(mut client) = server.handshake::<_, Bytes>(client).await else { return };
    while let Some(Ok((request, respond))) = client.accept().await {
        tokio::spawn(pass(request, respond, origin));
    }
}

/// Passes a request and its answer on. What is dropped before its end is reset, in both directions.
async fn pass(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    origin: SocketAddr,
) -> Option<()> {
    let socket = tokio::net::TcpStream::connect(origin).await.ok()?;
    socket.set_nodelay(true).expect("a socket");
    let (sender, connection) = h2::client::handshake(socket).await.ok()?;
    tokio::spawn(connection);
    let (head, mut body) = request.into_parts();
    let request = Request::from_parts(head, ());
    let (answer, mut upload) = sender.ready().await.ok()?.send_request(request, false).ok()?;
    while let Some(data) = body.data().await {
        upload.send_data(data.ok()?, false).ok()?;
    }
    upload.send_data(Bytes::new(), true).ok()?;
    let answer = tokio::select! {
        answer = answer => answer.ok()?,
        _ = poll_fn(|cx| respond.poll_reset(cx)) => return None,
    };
    let (head, mut body) = answer.into_parts();
    let mut stream = respond.send_response(Response::from_parts(head, ()), false).ok()?;
    loop {
        let data = tokio::select! {
            data = body.data() => data,
            _ = poll_fn(|cx| stream.poll_reset(cx)) => return None,
        };
        match data {
            Some(Ok(data)) => {
                body.flow_control().release_capacity(data.len()).ok()?;
                // h2 reports the end of a stream as empty data, and closes connections on which many empty DATA frames arrive.
                if !data.is_empty() {
                    stream.send_data(data, false).ok()?;
                }
            }
            Some(Err(_)) => stream.send_reset(Reason::INTERNAL_ERROR),
            None => return stream.send_data(Bytes::new(), true).ok(),
        }
    }
}

/// Starts a hop that takes so many connections at once, and answers 503 on every other one.
fn http1_hop(limit: usize, origin: SocketAddr) -> SocketAddr {
    const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nbusy\n";
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let open = Arc::new(AtomicUsize::new(0));
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let open = open.clone();
            thread::spawn(move || {
                let one_more = |open| (open < limit).then_some(open + 1);
                if open.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_ok() {
                    tunnel(client, TcpStream::connect(origin).expect("the origin"));
                    open.fetch_sub(1, Ordering::SeqCst);
                } else if client.read(&mut [0; 4096]).is_ok() {
                    // A client that has left already reads nothing.
                    client.write_all(REFUSAL).unwrap_or_default();
                }
            });
        }
    });
    address
}

/// Passes bytes on in both directions, until both have ended.
fn tunnel(client: TcpStream, origin: TcpStream) {
    client.set_nodelay(true).expect("a socket");
    let one_way = |mut from: &TcpStream, mut to: &TcpStream| {
        // A connection that breaks ends both directions.
        copy(&mut from, &mut to).unwrap_or_default();
        to.shutdown(std::net::Shutdown::Both).unwrap_or_default();
    };
    thread::scope(|scope| {
        scope.spawn(|| one_way(&client, &origin));
        one_way(&origin, &client);
    });
}

/// The figures of the test `at_once` at a point.
fn at_once(report: &Value, point: &str) -> [Value; 3] {
    let tests = report["tests"].as_array().expect("tests");
    let test = tests.iter().find(|test| test["id"] == "at_once" && test["point"] == point).expect("a test");
    [&test["wanted"], &test["opened"], &test["ran"]].map(Value::clone)
}

#[test]
fn a_limit_of_100_streams_for_a_connection_is_seen_and_is_no_finding() {
    let origin = ProbeOrigin::start();
    // Silent streams run at the same time, on another connection.
    let (code, said) = probed(&origin, http2_hop(Some(100), origin.address), &["--http2", "--idle", "12s"]);
    assert_eq!((code, found(&said)), (Some(0), vec![]), "{said:#}");
    // The origin allows 100 as well: it is a listener of sidestream.
    for point in ["inner", "outer"] {
        assert_eq!(at_once(&said, point), [json!(101), json!(100), json!(100)], "{point}: {said:#}");
    }
}

#[test]
fn streams_run_beyond_100_where_a_hop_allows_them() {
    let origin = ProbeOrigin::start();
    let (code, said) = probed(&origin, http2_hop(None, origin.address), &["--http2"]);
    assert_eq!((code, found(&said)), (Some(0), vec![]), "{said:#}");
    assert_eq!(at_once(&said, "inner"), [json!(101), json!(100), json!(100)], "{said:#}");
    assert_eq!(at_once(&said, "outer"), [json!(101), json!(101), json!(101)], "{said:#}");
}

#[test]
fn a_hop_whose_connections_allow_fewer_than_100_streams_is_named() {
    let origin = ProbeOrigin::start();
    let (code, said) = probed(&origin, http2_hop(Some(32), origin.address), &["--http2"]);
    assert_eq!(code, Some(3));
    assert_eq!(found(&said), [["stream_limit", "warning", "inner", "outer"]], "{said:#}");
    assert_eq!(at_once(&said, "outer"), [json!(101), json!(32), json!(32)], "{said:#}");
    let summary = said["findings"][0]["summary"].as_str().expect("a text");
    assert!(summary.contains("allows 32 streams at once, by its SETTINGS"), "{summary}");
}

#[test]
fn points_take_turns_so_that_they_meet_no_limit_together() {
    // Three times 100 streams would be more than an origin serves at once.
    let origin = ProbeOrigin::start();
    let points = ["app", "edge", "cdn"].map(|name| format!("{name}=http://{}/", origin.address));
    let output = doctor(&["--http2", "--token", PROBE_TOKEN, &points[0], &points[1], &points[2]]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    assert_eq!(text.matches("100 over HTTP/2, its limit").count(), 3, "{text}");
}

#[test]
fn a_hop_that_refuses_connections_beyond_three_is_one_finding() {
    let origin = ProbeOrigin::start();
    let (code, said) = probed(&origin, http1_hop(3, origin.address), &[]);
    assert_eq!(code, Some(3));
    assert_eq!(found(&said), [["stream_limit", "warning", "inner", "outer"]], "{said:#}");
    let evidence = &said["findings"][0]["evidence"];
    // A connection that the doctor has just closed may still count.
    let ran = evidence["ran"].as_u64().expect("a number");
    assert!((1..=3).contains(&ran) && evidence["refused"] == 503, "{evidence}");
}

#[tokio::test]
async fn nothing_is_found_behind_a_sidestream_over_http2() {
    let origin = ProbeOrigin::start();
    let proxy = Sidestream::before(format!("http://{}", origin.address)).start().await;
    let address = proxy.address;
    let probing = tokio::task::spawn_blocking(move || probed(&origin, address, &["--http2"]));
    let (code, said) = probing.await.expect("a report");
    assert_eq!((code, found(&said)), (Some(0), vec![]), "{said:#}");
    assert_eq!(at_once(&said, "outer"), [json!(101), json!(100), json!(100)], "{said:#}");
}
