//! Heads with ambiguous or invalid framing of the body.

use super::case::{Corpus, Fate, SMUGGLED};

pub fn content_length(corpus: &mut Corpus) {
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

pub fn transfer_encoding(corpus: &mut Corpus) {
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
        // RFC 9112, 6.3: the first request may be served or rejected, but the bytes after it must not be read as a request.
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
