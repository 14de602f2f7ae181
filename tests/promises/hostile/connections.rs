//! The field `Connection`, and several requests on one connection.

use super::case::{Corpus, Fate, SMUGGLED};

pub fn connection(corpus: &mut Corpus) {
    use Fate::{BadRequest, Pipelined, Refused, Safe};
    // RFC 9110, 7.6.1: a sender must not list end-to-end fields. A recipient that removed them would see another message.
    for field in [
        "Content-Length",
        "Host",
        "host",
        "Transfer-Encoding",
        "close, Host",
        "close, Content-Length",
        "keep-alive, Host",
        "Host, Content-Length",
        "X, transfer-encoding",
        ",Host,",
        "TE, Host",
    ] {
        let lines = format!("Connection: {field}\r\nX-Smuggled: yes\r\nContent-Length: 5");
        corpus.post(format!("Connection: {field:?}"), &lines, "hello", BadRequest);
        let two = format!("Connection: close\r\nConnection: {field}");
        corpus.head(format!("Connection: \"close\" and {field:?}"), &two, BadRequest);
    }
    for option in ["Host", "host", "Content-Length", "Transfer-Encoding"] {
        let websocket =
            "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13";
        let lines = format!("Connection: Upgrade, {option}\r\n{websocket}");
        corpus.head(format!("an upgrade that takes {option} away"), &lines, BadRequest);
        let lines = format!("Connection: {option}\r\nConnection: upgrade\r\n{websocket}");
        corpus.head(format!("an upgrade, and {option} is taken away"), &lines, BadRequest);
    }
    for field in [
        "X-Forwarded-For",
        "X-Request-Id",
        "Via",
        "Cookie",
        "Authorization",
        "close, X-Smuggled",
        "\"Host\"",
        "",
        ",,,",
        "Upgrade",
    ] {
        let lines = format!("Connection: {field}\r\nX-Smuggled: yes\r\nContent-Length: 5");
        corpus.post(format!("Connection: {field:?}"), &lines, "hello", Safe);
    }
    let h2c =
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA";
    corpus.head("an upgrade to HTTP/2", h2c, Safe);
    corpus.post("an upgrade to HTTP/2 with a body", &format!("{h2c}\r\nContent-Length: 5"), "hello", Safe);
    corpus.head("an upgrade to something", "Connection: Upgrade\r\nUpgrade: something", Safe);
    corpus.head("an upgrade to several", "Connection: Upgrade\r\nUpgrade: websocket, h2c", Safe);
    // RFC 9110, 7.8: the upgrade is ignored. The following bytes are a request, not the content of a tunnel.
    for (name, lines) in [
        ("an upgrade that is not nominated", "Upgrade: websocket"),
        ("an upgrade where another is nominated", "Connection: keep-alive\r\nUpgrade: websocket"),
        ("an upgrade of which half is nominated", "Connection: up, grade\r\nUpgrade: websocket"),
    ] {
        let second = format!("{lines}\r\n\r\nGET /second HTTP/1.1\r\nHost: test");
        corpus.head(name, &second, Pipelined(2));
    }
    let preface = format!("{h2c}\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM");
    corpus.head("an upgrade with its preface", &preface, Safe);
    corpus.head("Expect something", "Expect: 200-ok", Safe);
    corpus.head("TE", "TE: trailers, deflate;q=0.5\r\nConnection: TE", Safe);
    corpus.head("a bad Connection", "Connection: \0", Refused);
}

pub fn sequences(corpus: &mut Corpus) {
    use Fate::{Pipelined, Refused, Safe};
    let get = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    corpus.add("two requests", get.repeat(2), Pipelined(2));
    corpus.add("ten requests", get.repeat(10), Pipelined(10));
    corpus.post("a body and a request", "Content-Length: 5", &format!("hello{get}"), Pipelined(2));
    corpus.post(
        "chunks and a request",
        "Transfer-Encoding: chunked",
        &format!("0\r\n\r\n{get}"),
        Pipelined(2),
    );
    corpus.add("a request and half of one", format!("{get}GET / HTTP/1.1\r\nHo"), Pipelined(1));
    corpus.add("a request and noise", format!("{get}\0\u{1}\r\n\r\n"), Pipelined(1));
    corpus.add(
        "a request and one that smuggles",
        format!("{get}GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        Pipelined(1),
    );
    corpus.head("a GET with a body", "Content-Length: 5\r\n\r\nhello", Safe);
    corpus.add("half a head", "GET / HTTP/1.1\r\nHost: te", Refused);
    corpus.post("half a body", "Content-Length: 10", "hello", Safe);
    corpus.add("a head that ends in one LF", "GET / HTTP/1.1\r\nHost: test\r\n\n", Safe);
    let close = format!("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n{SMUGGLED}");
    corpus.add("a request after the last", close, Safe);
    let old = format!("GET / HTTP/1.0\r\n\r\n{SMUGGLED}");
    corpus.add("a request after one of HTTP/1.0", old, Safe);
    let old = format!("POST / HTTP/1.0\r\nHost: test\r\n\r\n{SMUGGLED}");
    corpus.add("a body of HTTP/1.0 that nothing delimits", old, Safe);
}
