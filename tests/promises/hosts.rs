//! What of the hop to the backend it is told: its host, and Via.

use crate::kit::{Backend, Sidestream};

async fn seen(upstream: &str, host: &str) -> String {
    let mut backend = Backend::that_answers("HTTP/1.1 204 No Content\r\n\r\n").await;
    let proxy = Sidestream::before(&backend.url).upstream(upstream).start().await;
    let mut client = proxy.client().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
    assert_eq!(client.response().await.status, 204);
    backend.saw_request().await.replace(&backend.address.to_string(), "BACKEND")
}

#[tokio::test]
async fn the_backend_sees_the_host_that_is_configured() {
    for (key, host) in [
        ("", "client.example"),
        ("host: client", "client.example"),
        ("host: upstream", "BACKEND"),
        ("host: 'model.internal:8443'", "model.internal:8443"),
    ] {
        let head = seen(key, "client.example").await;
        assert_eq!(head.matches("\r\nHost: ").count(), 1, "{head}");
        assert!(head.contains(&format!("\r\nHost: {host}\r\n")), "{key}: {head}");
        // What the client has asked for is told all the same.
        assert!(head.contains("\r\nX-Forwarded-Host: client.example\r\n"), "{key}: {head}");
    }
}

#[tokio::test]
async fn via_is_sent_only_where_it_is_asked_for() {
    assert!(!seen("", "test").await.contains("\r\nVia: "));
    assert!(seen("via: true", "test").await.contains("\r\nVia: 1.1 sidestream\r\n"));
}
