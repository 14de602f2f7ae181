//! TLS: client certificates, verification of backends, and replacing certificates.

use std::sync::Arc;

use sidestream::config;

use crate::kit::{Authority, Backend, Client, Io, Sidestream, Step, Transport, stream_begun};

async fn with_listener(backend: &Backend, listener: &str) -> Sidestream {
    Sidestream::before(&backend.url).listener(listener).start().await
}

async fn tcp(proxy: &Sidestream) -> Box<dyn Io> {
    proxy.client().await.into_io()
}

/// Sends a request and reads to the end of the connection.
async fn answer(io: Box<dyn Io>) -> std::io::Result<String> {
    let mut client = Client::over(io);
    client.try_send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await?;
    Ok(String::from_utf8_lossy(&client.rest().await?).into_owned())
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn alpn_selects_the_protocol() {
    let authority = Authority::new();
    let mut backend = Backend::that_answers(OK).await;
    let proxy = with_listener(&backend, &authority.listener()).await;
    let (io, _) = authority.connect(tcp(&proxy).await, &["http/1.1"], None).await.expect("a handshake");
    assert!(answer(io).await.expect("an answer").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(backend.saw_request().await.contains("\r\nX-Forwarded-Proto: https\r\n"));
    // Without ALPN, the protocol is HTTP/1.1.
    let (io, _) = authority.connect(tcp(&proxy).await, &[], None).await.expect("a handshake");
    assert!(answer(io).await.expect("an answer").starts_with("HTTP/1.1 200 OK\r\n"));
    // A plaintext client gets no response from the backend.
    let mut plain = proxy.client().await;
    plain.send_get("/").await;
    while plain.connection.read_more().await > 0 {}
    let rest = plain.connection.take();
    assert!(!rest.starts_with(b"HTTP"), "{rest:?}");
}

#[tokio::test]
async fn clients_need_a_certificate_if_client_ca_is_set() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let backend = Backend::that_answers(OK).await;
    let tls = authority
        .listener()
        .replace(" }", &format!(", client_ca: {} }}", authority.path("ca.pem").display()));
    let proxy = with_listener(&backend, &tls).await;
    let try_with = async |client| match authority.connect(tcp(&proxy).await, &["http/1.1"], client).await {
        // In TLS 1.3, the client learns of the rejection only after its handshake.
        Ok((io, _)) => answer(io).await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")),
        Err(_) => false,
    };
    let (known, unknown) = (authority.identity("client"), stranger.identity("client"));
    assert!(try_with(Some(&known)).await);
    assert!(!try_with(Some(&unknown)).await);
    assert!(!try_with(None).await);
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn a_certificate_is_replaced_while_streams_run() {
    let authority = Authority::new();
    let backend = Backend::that_begins(stream_begun("data: 1\n\n")).await;
    let proxy = with_listener(&backend, &authority.listener()).await;
    let (stream, first) = authority.connect(tcp(&proxy).await, &[], None).await.expect("a handshake");
    let mut stream = Client::over(stream);
    stream.send_get("/").await;
    stream.exactly(64).await;

    authority.install(&authority.identity("localhost"));
    assert!(proxy.reload(&proxy.yaml).expect("a valid file").is_empty());
    let (_, second) = authority.connect(tcp(&proxy).await, &[], None).await.expect("a handshake");
    assert_ne!(first, second);

    // An invalid file changes nothing.
    authority.write("cert.pem", "no certificate");
    let error = proxy.reload(&proxy.yaml).expect_err("a mistake").to_string();
    assert!(error.contains("listeners[0].tls.certificate: cannot read the certificate"), "{error}");
    let (_, third) = authority.connect(tcp(&proxy).await, &[], None).await.expect("a handshake");
    assert_eq!(second, third);
    proxy.reaches("sidestream_streams_active{route=\"default\"}", 1.0).await;
}

#[tokio::test]
async fn a_websocket_passes_over_tls() {
    let authority = Authority::new();
    let backend = Backend::script(|mut exchange| async move {
        let head = exchange.request().await.expect("a request");
        assert!(head.contains("\r\nX-Forwarded-Proto: https\r\n"), "{head}");
        exchange
            .send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            .await;
        assert_eq!(exchange.body(4).await, b"ping");
        exchange.send("pong").await;
        exchange.closed().await;
    })
    .await;
    let proxy = with_listener(&backend, &authority.listener()).await;
    let (io, _) = authority.connect(tcp(&proxy).await, &["http/1.1"], None).await.expect("a handshake");
    let mut client = Client::over(io);
    client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    assert_eq!(client.response().await.status, 101);
    client.send("ping").await;
    assert_eq!(client.exactly(4).await, b"pong");
}

#[tokio::test]
async fn a_slow_handshake_times_out() {
    let authority = Authority::new();
    let backend = Backend::that_answers(OK).await;
    let proxy = with_listener(&backend, &format!("header_timeout: 100ms, {}", authority.listener())).await;
    let mut client = proxy.client().await;
    client.send([0x16, 3, 1]).await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_backend_is_verified_as_configured() {
    let (authority, stranger) = (Arc::new(Authority::new()), Authority::new());
    let cases = [
        // The system does not trust this authority.
        (String::new(), 502),
        (format!("tls: {{ ca: {} }}", authority.path("ca.pem").display()), 200),
        (format!("tls: {{ ca: {} }}", stranger.path("ca.pem").display()), 502),
        (format!("tls: {{ ca: {}, server_name: other.test }}", authority.path("ca.pem").display()), 502),
        (format!("tls: {{ ca: {}, server_name: localhost }}", authority.path("ca.pem").display()), 200),
        ("tls: { verify: false }".to_owned(), 200),
    ];
    for upstream in [Transport::Http1Tls, Transport::Http2Tls] {
        let backend = Backend::speaking(upstream, &authority, &[Step::LengthHead(0), Step::End]).await;
        for (tls, status) in &cases {
            let proxy = Sidestream::before(&backend.url).upstream(tls).start().await;
            assert_eq!(proxy.client().await.get("/").await.status, *status, "{upstream:?} {tls}");
        }
    }
}

#[tokio::test]
async fn a_backend_without_http2_in_alpn_is_a_502() {
    let authority = Arc::new(Authority::new());
    let backend = Backend::speaking(Transport::Http1Tls, &authority, &[Step::LengthHead(0), Step::End]).await;
    let url = backend.url.replace("https://", "h2s://");
    let proxy = Sidestream::before(url).upstream("tls: { verify: false }").start().await;
    assert_eq!(proxy.client().await.get("/").await.status, 502);
}

#[test]
fn a_key_that_does_not_match_its_certificate_is_an_error() {
    let authority = Authority::new();
    authority.write("key.pem", &authority.identity("localhost").key);
    let yaml = format!(
        "listeners:\n  - address: 127.0.0.1:0\n    {}\nupstreams: {{ llm: {{ servers: [http://127.0.0.1:1] }} }}\n",
        authority.listener()
    );
    let error = config::parse(&yaml, "my.yaml").expect_err("a mistake").to_string();
    assert!(
        error.starts_with("my.yaml:3:10: listeners[0].tls: `certificate` and `key` cannot be used together"),
        "{error}"
    );
}

#[test]
fn the_effective_configuration_of_tls_can_be_read_back() {
    let authority = Authority::new();
    let yaml = format!(
        "listeners:\n  - {{ address: 127.0.0.1:0, {tls}, http2: false, proxy_protocol: true }}\n  \
         - {{ address: 'unix:/tmp/x', trusted_proxies: [unix, 10.0.0.0/8] }}\n\
         upstreams: {{ llm: {{ servers: ['h2s://a.test'], tls: {{ ca: {ca}, server_name: b.test, verify: false }} }} }}\n\
         limits: {{ max_connections: 7, max_request_body: 2MiB }}\n",
        tls = authority.listener(),
        ca = authority.path("ca.pem").display()
    );
    let once = config::effective_yaml(&config::parse(&yaml, "a.yaml").expect("a valid file"));
    let twice = config::effective_yaml(&config::parse(&once, "b.yaml").expect("a valid file"));
    assert_eq!(once, twice);
    for line in [
        "h2s://a.test:443",
        "server_name: \"b.test\"",
        "max_connections: 7",
        "unix:/tmp/x",
        "proxy_protocol: true",
    ] {
        assert!(once.contains(line), "{line} is missing in {once}");
    }
}
