//! A WebSocket is a tunnel: all bytes pass in both directions, in order and without delay, until both sides
//! have ended.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::kit::{
    Authority, Backend, Edge, EdgeClient, LAST_WORDS, SWITCHING, Sidestream, Step, Transport, UPGRADE, Within,
};

#[tokio::test]
async fn data_sent_together_with_the_101_arrives() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send([SWITCHING, "first"].concat()).await;
        exchange.echo().await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    for _ in 0..50 {
        let mut client = proxy.websocket().await;
        assert_eq!(client.exactly(5).await, b"first");
        client.send("second").await;
        assert_eq!(client.exactly(6).await, b"second");
    }
}

#[tokio::test]
async fn data_sent_together_with_the_request_arrives_after_the_101() {
    let backend = Backend::that_echoes().await;
    let proxy = Sidestream::in_front_of(&backend).await;
    for _ in 0..50 {
        let mut client = proxy.client().await;
        client.send([UPGRADE, "first"].concat()).await;
        assert_eq!(client.response().await.status, 101);
        assert_eq!(client.exactly(5).await, b"first");
        client.send("second").await;
        assert_eq!(client.exactly(6).await, b"second");
    }
}

#[tokio::test]
async fn the_fields_of_a_101_pass_except_connection_specific_ones() {
    let mut backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange
            .send(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: X-Hop, upgrade\r\nX-Hop: mine\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\
                 Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n",
            )
            .await;
        exchange.echo().await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    let request =
        UPGRADE.replace("Connection: Upgrade", "Connection: keep-alive, X-Own, Upgrade\r\nX-Own: mine");
    client.send(request).await;

    let request = backend.saw_request().await.to_lowercase();
    for field in [
        "upgrade: websocket",
        "connection: upgrade",
        "sec-websocket-version: 13",
        "x-forwarded-for: 127.0.0.1",
    ] {
        assert!(request.contains(&format!("\r\n{field}\r\n")), "{field} is missing in {request}");
    }
    assert!(!request.contains("x-own"), "{request}");

    let response = client.response().await;
    assert_eq!(response.status, 101);
    for (name, value) in
        [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-protocol", "chat")]
    {
        let is_there = response.field(name).is_some_and(|found| found.eq_ignore_ascii_case(value));
        assert!(is_there, "{name} in {}", response.head);
    }
    assert_eq!(response.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(response.fields("set-cookie"), ["a=1", "b=2"]);
    for gone in ["x-hop", "content-length", "transfer-encoding"] {
        assert!(response.fields(gone).is_empty(), "{gone} in {}", response.head);
    }
}

/// A FIN of one side is forwarded, and the other direction continues, as in the tunnels of nginx and HAProxy.
/// The key `half_close` applies only to clients that wait for a response.
#[tokio::test]
async fn a_half_closed_client_still_receives() {
    for half_close in ["cancel", "tolerate"] {
        let heard = Arc::new(Notify::new());
        let go_on = heard.clone();
        let mut backend = Backend::script(move |mut exchange| {
            let go_on = go_on.clone();
            async move {
                exchange.request().await;
                exchange.send(SWITCHING).await;
                assert_eq!(exchange.body(3).await, b"bye");
                exchange.closed().await;
                go_on.notified().await;
                exchange.send("not yet").await;
            }
        })
        .await;
        let proxy = Sidestream::with(&backend, &format!("half_close: {half_close}")).await;
        let mut client = proxy.websocket().await;
        client.send("bye").await;
        client.half_close().await;
        backend.saw_close().await;
        heard.notify_one();
        assert_eq!(client.rest().await.expect("a clean end"), b"not yet", "{half_close}");
    }
}

#[tokio::test]
async fn a_half_closed_backend_still_receives() {
    let mut backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send([SWITCHING, "bye"].concat()).await;
        exchange.half_close().await;
        assert_eq!(exchange.body(7).await, b"not yet");
        exchange.closed().await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.websocket().await;
    assert_eq!(client.exactly(3).await, b"bye");
    assert!(client.is_closed().await);
    client.send("not yet").await;
    client.half_close().await;
    // The backend reports this only after it received the bytes.
    backend.saw_close().await;
}

/// All pairs of transports. Each side ends separately: over TLS with an alert, otherwise with a FIN.
#[tokio::test]
async fn a_tunnel_works_between_all_transports() {
    const STEPS: &[Step] = &[Step::Send(SWITCHING.as_bytes()), Step::Send(b"first"), Step::Mirror];
    let authority = Arc::new(Authority::new());
    let upstreams = Transport::ALL.into_iter().filter(|upstream| !upstream.is_http2());
    for upstream in upstreams {
        let backend = Backend::speaking(upstream, &authority, STEPS).await;
        for downstream in Transport::ALL.into_iter().filter(|downstream| !downstream.is_http2()) {
            let edge = Edge::between(downstream, &authority, &backend, "").await;
            let EdgeClient::Http1(mut client) = edge.connect().await else { unreachable!("not of HTTP/2") };
            client.send(UPGRADE).await;
            assert_eq!(client.response().await.status, 101, "{downstream:?} to {upstream:?}");
            assert_eq!(client.exactly(5).await, b"first", "{downstream:?} to {upstream:?}");
            let sent = b"0123456789abcdef".repeat(4096);
            client.send(&sent).soon().await;
            assert!(client.exactly(sent.len()).await == sent, "{downstream:?} to {upstream:?}");
            client.half_close().await;
            assert_eq!(
                client.rest().await.expect("a clean end"),
                LAST_WORDS,
                "{downstream:?} to {upstream:?}"
            );
        }
    }
}

#[tokio::test]
async fn many_tunnels_run_concurrently() {
    let backend = Backend::that_echoes().await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        let client = proxy.websocket().await;
        clients.push(client);
    }
    for round in 0..3 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(format!("{number:04} {round}")).await;
        }
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.exactly(6).await, format!("{number:04} {round}").as_bytes());
        }
    }
    assert_eq!(backend.connections(), 50);
}
