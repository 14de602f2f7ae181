//! Ambiguous and invalid request heads.

use super::case::{Case, Corpus, Fate};
use super::{connections, framing};

pub fn all() -> Vec<Case> {
    let mut corpus = Corpus::default();
    framing::content_length(&mut corpus);
    framing::transfer_encoding(&mut corpus);
    fields(&mut corpus);
    request_lines(&mut corpus);
    hosts(&mut corpus);
    connections::connection(&mut corpus);
    connections::sequences(&mut corpus);
    corpus.0
}

fn fields(corpus: &mut Corpus) {
    use Fate::{Refused, Safe};
    for (name, lines) in [
        ("a folded line", "X: y\r\n z"),
        ("a line folded with a tab", "X: y\r\n\tz"),
        ("a bare CR in a value", "X: y\rz"),
        ("a bare CR after a value", "Content-Length: 0\r"),
        ("a form feed after a value", "Content-Length: 0\u{c}"),
        ("a NUL in a value", "X: y\0z"),
        ("a NUL in a name", "X\0Y: z"),
        ("a line without a colon", "X"),
        ("a field without a name", ": y"),
        ("a space in a name", "X Y: z"),
        ("a space before a colon", "X : y"),
        ("a tab before a colon", "X\t: y"),
        ("a name in parentheses", "(X): y"),
        ("a name with a slash", "X/Y: z"),
        ("a name that is not ASCII", "X\u{e9}: y"),
        ("a control character in a name", "X\u{1}: y"),
        ("DEL in a name", "X\u{7f}: y"),
        ("a vertical tab for a fold", "X: y\r\n\u{b}Z: w"),
        ("a request in a value", "X: y\r\r\nGET /smuggled HTTP/1.1"),
    ] {
        corpus.head(name, lines, Refused);
    }
    for byte in (1..32).filter(|byte| !matches!(byte, b'\t' | b'\r' | b'\n')).chain([0x7f]) {
        corpus.head(format!("{byte:#04x} in a value"), &format!("X: y{}z", byte as char), Safe);
    }
    corpus.head("bytes beyond ASCII in a value", "X: caf\u{e9}", Safe);
    corpus.head("an LF in a value", "X: y\nX-Other: z", Safe);
    corpus.head("only LFs between lines", "X: y\nZ: w\n\nGET /smuggled HTTP/1.1", Safe);
    corpus.head("a space before the first field", " X: y", Refused);
    corpus.add("a space before the first line", " GET / HTTP/1.1\r\nHost: test\r\n\r\n", Refused);
    corpus.add("a field before the host", "GET / HTTP/1.1\r\n Host: test\r\nHost: test\r\n\r\n", Refused);
    corpus.add("empty lines before the request", "\r\n\r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n", Safe);
    corpus.add("LFs before the request", "\n\nGET / HTTP/1.1\r\nHost: test\r\n\r\n", Safe);
    corpus.add("only LFs", "GET / HTTP/1.1\nHost: test\n\n", Safe);
    corpus.head(
        "300 fields",
        &(0..300).map(|n| format!("X-{n}: y")).collect::<Vec<_>>().join("\r\n"),
        Refused,
    );
    corpus.head("a head of 70 kB", &format!("X: {}", "y".repeat(70_000)), Refused);
    corpus.head("a head of 2 MB", &format!("X: {}", "y".repeat(2_000_000)), Refused);
    corpus.head("a name of 70 kB", &format!("{}: y", "x".repeat(70_000)), Refused);
}

fn request_lines(corpus: &mut Corpus) {
    use Fate::{Forwarded, Refused, Safe};
    let mut line =
        |line: &str, fate| corpus.add(format!("{line:?}"), format!("{line}\r\nHost: test\r\n\r\n"), fate);
    for hostile in [
        "GET /",
        "GET / HTTP/0.9",
        "GET / HTTP/2.0",
        "GET / HTTP/3",
        "GET / HTTP/1.10",
        "GET / HTTP/11",
        "GET / http/1.1",
        "GET / HTTP/1.1 x",
        "G(T / HTTP/1.1",
        "GET",
        "",
        "/ HTTP/1.1",
        "GET\0/ HTTP/1.1",
        "GET http://user@test/ HTTP/1.1",
        "GET http://other/ HTTP/1.1",
        "GET http://test:80@other/ HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "CONNECT test:443 HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "CONNECT 10.0.0.1:22 HTTP/1.1",
        "GET / HTTP/1.1\u{b}",
        "\u{feff}GET / HTTP/1.1",
        "GET test:80 HTTP/1.1",
        "PRI * HTTP/2.0",
        // These must be rejected, not percent-encoded: the encoded target would be a different one.
        "GET / x HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /a  b HTTP/1.1",
        "GET / /smuggled HTTP/1.1",
        "GET /a\tb HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET /\r HTTP/1.1",
        "GET /\u{1} HTTP/1.1",
        "GET /\u{b} HTTP/1.1",
        "GET /\u{1f} HTTP/1.1",
        "GET /\u{7f} HTTP/1.1",
        "GET http://test/\0 HTTP/1.1",
        "GET http://test/a b HTTP/1.1",
    ] {
        line(hostile, Refused);
    }
    // RFC 3986, 3.1 and 3.2: schemes and hosts are case-insensitive, and the default port may be omitted.
    for same in [
        "GET HTTP://test/ HTTP/1.1",
        "GET Http://test/a?b HTTP/1.1",
        "GET http://test:80/ HTTP/1.1",
        "GET http://TEST/ HTTP/1.1",
        "GET http://test HTTP/1.1",
    ] {
        line(same, Forwarded);
    }
    for odd in [
        "GET / HTTP/1.2",
        "GET  / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "get / HTTP/1.1",
        "GET http://test/ HTTP/1.1",
        "GET https://test/ HTTP/1.1",
        "GET ftp://test/ HTTP/1.1",
        "GET //other/ HTTP/1.1",
        "GET /\\other HTTP/1.1",
        "GET /#fragment HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /\u{e9} HTTP/1.1",
        "GET /%00 HTTP/1.1",
        "GET /%0d%0aX-Smuggled:%20yes HTTP/1.1",
        "GET /../../etc HTTP/1.1",
        "GET /;a=b HTTP/1.1",
        "GET ?a HTTP/1.1",
        "TRACE / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /\" HTTP/1.1",
        "GET /<> HTTP/1.1",
        "GET /{} HTTP/1.1",
        "M-SEARCH / HTTP/1.1",
    ] {
        line(odd, Safe);
    }
    let long = "x".repeat(70_000);
    corpus.add("a target of 70 kB", format!("GET /{long} HTTP/1.1\r\nHost: test\r\n\r\n"), Refused);
    corpus.add("a method of 70 kB", format!("{long} / HTTP/1.1\r\nHost: test\r\n\r\n"), Refused);
    corpus.add("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", Refused);
    corpus.add("noise", (0..=255).cycle().take(4096).collect::<Vec<u8>>(), Refused);
    corpus.add("an answer", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Refused);
}

fn hosts(corpus: &mut Corpus) {
    use Fate::{Forwarded, Refused, Safe};
    let mut host = |name: &str, lines: &str, fate| {
        corpus.add(name, format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n"), fate);
    };
    host("no host", "X: y", Refused);
    host("two hosts", "Host: test\r\nHost: other", Refused);
    host("the same host twice", "Host: test\r\nHost: test", Refused);
    host("two hosts in one field", "Host: test, other", Refused);
    host("a host after a folded one", "X: y\r\n Host: other\r\nHost: test", Refused);
    for value in [
        "test other",
        "user@test",
        "test/path",
        "test?query",
        "test#x",
        "test\\other",
        "test:port",
        "test:80:80",
        "test\0",
        "te\tst",
        "[::1",
        "::1",
        "http://test/",
    ] {
        host(&format!("Host: {value:?}"), &format!("Host: {value}"), Refused);
    }
    for value in ["", "test:99999", "test:", "TEST", "test.", "[::1]:80", "127.1", "te%73t"] {
        host(&format!("Host: {value:?}"), &format!("Host: {value}"), Safe);
    }
    corpus.add("an absolute target without a host", "GET http://test/ HTTP/1.1\r\n\r\n", Safe);
    let port = "GET http://test:80/ HTTP/1.1\r\nHost: test:80\r\n\r\n";
    corpus.add("an absolute target and its host with the default port", port, Forwarded);
    let two = "GET http://test/ HTTP/1.1\r\nHost: test\r\nHost: other\r\n\r\n";
    corpus.add("an absolute target and two hosts", two, Refused);
}
