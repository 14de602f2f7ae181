//! Requests that somebody could read in two ways, or that are none.

/// What may become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is answered with 4xx or 5xx, or its connection is closed; the backend hears nothing of it.
    Refused,
    /// The backend gets exactly this one, in a form that cannot be read in two ways.
    Forwarded,
    /// Either.
    Safe,
    /// Any number of requests, each in a form that cannot be read in two ways.
    Any,
    /// So many requests, one after the other: this is pipelining, and allowed.
    Pipelined(usize),
}

pub struct Case {
    pub name: String,
    pub bytes: Vec<u8>,
    pub fate: Fate,
}

/// What would be a second request to whoever ends the first one early.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: test\r\nX-Smuggled: yes\r\n\r\n";

struct Corpus(Vec<Case>);

impl Corpus {
    fn add(&mut self, name: impl Into<String>, bytes: impl AsRef<[u8]>, fate: Fate) {
        self.0.push(Case { name: name.into(), bytes: bytes.as_ref().to_vec(), fate });
    }

    /// A request with these lines after its first one and its `Host`.
    fn head(&mut self, name: impl Into<String>, lines: &str, fate: Fate) {
        self.add(name, format!("GET / HTTP/1.1\r\nHost: test\r\n{lines}\r\n\r\n"), fate);
    }

    fn post(&mut self, name: impl Into<String>, lines: &str, body: &str, fate: Fate) {
        self.add(name, format!("POST / HTTP/1.1\r\nHost: test\r\n{lines}\r\n\r\n{body}"), fate);
    }
}

pub fn all() -> Vec<Case> {
    let mut corpus = Corpus(Vec::new());
    content_length(&mut corpus);
    transfer_encoding(&mut corpus);
    chunks(&mut corpus);
    fields(&mut corpus);
    request_lines(&mut corpus);
    hosts(&mut corpus);
    connection(&mut corpus);
    sequences(&mut corpus);
    corpus.0
}

fn content_length(corpus: &mut Corpus) {
    use Fate::{Forwarded, Refused, Safe};
    for value in [
        "+5",
        "-5",
        "5 5",
        "5,6",
        "5, 6",
        "0x5",
        "5e0",
        "5.0",
        "five",
        "5;q=1",
        "_5",
        "5_0",
        "",
        "\u{ff15}",
        "99999999999999999999999",
        "18446744073709551616",
        "18446744073709551621",
        "5\u{b}",
        "\u{c}5",
        "5\0",
        "\"5\"",
        "5a",
        "a5",
        "-0",
    ] {
        corpus.post(
            format!("Content-Length: {value:?}"),
            &format!("Content-Length: {value}"),
            "hello",
            Refused,
        );
    }
    for value in ["05", "5 ", "5\t", " \t5", "5,5", "5, 5"] {
        corpus.post(format!("Content-Length: {value:?}"), &format!("Content-Length: {value}"), "hello", Safe);
    }
    corpus.post("Content-Length once", "Content-Length: 5", "hello", Forwarded);
    corpus.post("Content-Length without a space", "content-length:5", "hello", Forwarded);
    for (name, lines) in [
        ("two lengths that differ", "Content-Length: 5\r\nContent-Length: 6"),
        ("two lengths that differ, in another case", "Content-Length: 5\r\ncontent-length: 0"),
        ("a space before the colon of a length", "Content-Length : 5"),
        ("a tab before the colon of a length", "Content-Length\t: 5"),
        ("a length in a folded line", "X: y\r\n Content-Length: 5"),
        ("a length after a bare CR", "X: y\rContent-Length: 5"),
    ] {
        corpus.post(name, lines, &format!("hello{SMUGGLED}"), Refused);
    }
    corpus.post("two lengths that agree", "Content-Length: 5\r\nContent-Length: 5", "hello", Safe);
    corpus.post("a length with an underscore", "Content_Length: 5", "", Safe);
}

fn transfer_encoding(corpus: &mut Corpus) {
    use Fate::{Forwarded, Refused, Safe};
    let body = format!("5\r\nhello\r\n0\r\n\r\n{SMUGGLED}");
    for value in [
        "xchunked",
        "chunkedx",
        "chunked, identity",
        "identity, chunked",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "identity",
        "chunked;q=1",
        "\"chunked\"",
        "'chunked'",
        "chun ked",
        "\u{b}chunked",
        "chunked\0",
        "\0chunked",
        "cow",
        "",
        "trailers, chunked",
        "deflate",
        "chunked\u{c}",
        "chunked\r\n\t, identity",
        "chunked cow",
        "c\u{212a}hunked",
        "[chunked]",
        "chunked\u{b}",
    ] {
        corpus.post(
            format!("Transfer-Encoding: {value:?}"),
            &format!("Transfer-Encoding: {value}"),
            &body,
            Refused,
        );
        let both = format!("Content-Length: 5\r\nTransfer-Encoding: {value}");
        corpus.post(format!("Content-Length and Transfer-Encoding: {value:?}"), &both, &body, Refused);
    }
    for value in ["Chunked", "CHUNKED", "chunked ", " chunked", "\tchunked", ", chunked", "chunked,"] {
        let lines = format!("Transfer-Encoding: {value}");
        corpus.post(format!("Transfer-Encoding: {value:?}"), &lines, "5\r\nhello\r\n0\r\n\r\n", Safe);
    }
    corpus.post("chunked", "Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n", Forwarded);
    for (name, lines) in [
        ("length before coding", "Content-Length: 5\r\nTransfer-Encoding: chunked"),
        ("coding before length", "Transfer-Encoding: chunked\r\nContent-Length: 5"),
        ("coding and a long length", "Transfer-Encoding: chunked\r\nContent-Length: 999"),
        ("coding and length 0", "Transfer-Encoding: chunked\r\nContent-Length: 0"),
    ] {
        // RFC 9112, 6.3: whatever becomes of the first, what comes after it is not believed.
        corpus.post(name, lines, &format!("5\r\nhello\r\n0\r\n\r\n{SMUGGLED}"), Safe);
    }
    for (name, lines) in [
        ("two codings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        ("two codings, the last is chunked", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked"),
        ("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        ("a space before the colon of a coding", "Transfer-Encoding : chunked"),
        ("a coding in a folded line", "X: y\r\n Transfer-Encoding: chunked"),
        ("a coding after a bare CR", "X: y\rTransfer-Encoding: chunked"),
        ("a coding with a NUL in its name", "Transfer-Encoding\0: chunked"),
        ("a coding with a tab in its name", "Transfer-\tEncoding: chunked"),
    ] {
        corpus.post(name, lines, &body, Refused);
    }
    corpus.post("a coding with an underscore", "Transfer_Encoding: chunked\r\nContent-Length: 0", "", Safe);
    corpus.post(
        "a coding after a bare LF",
        "X: y\nTransfer-Encoding: chunked",
        "5\r\nhello\r\n0\r\n\r\n",
        Safe,
    );
    let old = format!("POST / HTTP/1.0\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    corpus.add("a coding in HTTP/1.0", old, Refused);
    corpus.head("a coding of a GET", "Transfer-Encoding: xchunked", Refused);
}

fn chunks(corpus: &mut Corpus) {
    use Fate::{Forwarded, Safe};
    let mut chunked = |name: &str, body: &str| corpus.post(name, "Transfer-Encoding: chunked", body, Safe);
    for size in [
        "5;ext=1",
        "5 ;ext",
        "5;a=\"\r\n\"",
        "5 ",
        " 5",
        "\t5",
        "+5",
        "-5",
        "0x5",
        "5\u{b}",
        "g",
        "",
        "5;",
        "5;\0",
        "5;a=b\nc",
        "5;a=b\rc",
        "00000000000000000000000005",
        "05",
        "fffffffffffffffff",
        "ffffffffffffffff",
        "8000000000000000",
        "7fffffffffffffff",
        "10000000000000005",
        "5,5",
        "5_0",
        "0;ext",
        "5\0",
    ] {
        chunked(&format!("chunk size {size:?}"), &format!("{size}\r\nhello\r\n0\r\n\r\n"));
    }
    for (name, body) in [
        ("a chunk size that ends in LF", "5\nhello\r\n0\r\n\r\n"),
        ("a chunk size that ends in CR", "5\rhello\r\n0\r\n\r\n"),
        ("chunk data that ends in LF", "5\r\nhello\n0\r\n\r\n"),
        ("chunk data that does not end", "5\r\nhello0\r\n\r\n"),
        ("chunk data longer than its size", "5\r\nhello world\r\n0\r\n\r\n"),
        ("chunk data shorter than its size", "9\r\nhello\r\n0\r\n\r\n"),
        ("a last chunk with LFs", "5\r\nhello\r\n0\n\n"),
        ("a trailer", "5\r\nhello\r\n0\r\nX-Smuggled: yes\r\n\r\n"),
        (
            "a trailer that frames",
            "5\r\nhello\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        ("a trailer that is none", "5\r\nhello\r\n0\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
        ("a folded trailer", "5\r\nhello\r\n0\r\nA: b\r\n X-Smuggled: yes\r\n\r\n"),
        ("no last chunk", "5\r\nhello\r\n"),
    ] {
        chunked(name, body);
    }
    chunked("a chunk extension of 100 kB", &format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(100_000)));
    chunked("a chunk size of 10,000 digits", &format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(10_000)));
    chunked("10,000 chunks of one byte", &format!("{}0\r\n\r\n", "1\r\nx\r\n".repeat(10_000)));
    corpus.post(
        "chunks in capitals",
        "Transfer-Encoding: chunked",
        "A\r\n0123456789\r\n0\r\n\r\n",
        Forwarded,
    );
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
    use Fate::{Refused, Safe};
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
    ] {
        line(hostile, Refused);
    }
    // pingora encodes what must not be in a target, and then it is beyond doubt.
    for odd in [
        "GET / x HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET /\r HTTP/1.1",
        "GET /\u{1} HTTP/1.1",
    ] {
        line(odd, Safe);
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
        "GET /\u{7f} HTTP/1.1",
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
    use Fate::{Refused, Safe};
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
    let two = "GET http://test/ HTTP/1.1\r\nHost: test\r\nHost: other\r\n\r\n";
    corpus.add("an absolute target and two hosts", two, Refused);
}

fn connection(corpus: &mut Corpus) {
    use Fate::{Refused, Safe};
    for field in [
        "Content-Length",
        "Host",
        "Transfer-Encoding",
        "X-Forwarded-For",
        "X-Request-Id",
        "Via",
        "Cookie",
        "Authorization",
        "close, X-Smuggled",
        "keep-alive, Host",
        "Host, Content-Length",
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
    corpus.head("an upgrade that is not nominated", "Upgrade: websocket", Safe);
    let preface = format!("{h2c}\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM");
    corpus.head("an upgrade with its preface", &preface, Safe);
    corpus.head("Expect something", "Expect: 200-ok", Safe);
    corpus.head("TE", "TE: trailers, deflate;q=0.5\r\nConnection: TE", Safe);
    corpus.head("a bad Connection", "Connection: \0", Refused);
}

fn sequences(corpus: &mut Corpus) {
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
