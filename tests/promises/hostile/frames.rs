//! Invalid HTTP/2: misplaced frames, floods, and heads with another meaning in HTTP/1.1.

use super::case::{Case, Fate};
use super::frame::*;

pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, frames: Vec<u8>, fate| {
        cases.push(Case::new(format!("HTTP/2: {name}"), connection(frames), fate));
    };
    heads(&mut add);
    bodies(&mut add);
    out_of_place(&mut add);
    floods(&mut add);
    // The proxy waits for the rest of the preface until its header timeout.
    cases.push(Case::new("HTTP/2: half a preface", &PREFACE[..12], Fate::Refused));
    cases
}

fn heads(add: &mut impl FnMut(&str, Vec<u8>, Fate)) {
    use Fate::{Forwarded, Refused, Safe};
    let head = |fields_: &[(&str, &str)]| frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(fields_));
    add("a request", get(1), Forwarded);
    add("TE: trailers", head(&[&GET[..], &[("te", "trailers")]].concat()), Forwarded);
    for (name, value) in [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("keep-alive", "1"),
        ("proxy-connection", "close"),
        ("te", "gzip"),
        ("X-Upper", "y"),
        ("x\r\nx-smuggled", "yes"),
        ("x", "y\r\nx-smuggled: yes"),
        ("x", "y\nx-smuggled: yes"),
        ("x", "y\rz"),
        ("x", "y\0z"),
        ("x\0", "y"),
        ("x y", "z"),
        ("x:", "z"),
        ("", "y"),
        (":unknown", "y"),
        (":method", "POST"),
        (":path", "/smuggled"),
        (":authority", "other"),
        ("content-length", "+5"),
        ("content-length", "5"),
        ("host", "other"),
        ("host", "u@test"),
        (":status", "200"),
    ] {
        add(&format!("{name:?}: {value:?}"), head(&[&GET[..], &[(name, value)]].concat()), Refused);
    }
    // RFC 9113, 8.2.1: field names are tokens. Another character could end the name, or begin a quotation, behind the proxy.
    for byte in b"\"(),/;<=>?@[\\]{}\x7f" {
        let name = format!("x{}y", *byte as char);
        add(&format!("the name {name:?}"), head(&[&GET[..], &[(&name, "z")]].concat()), Refused);
    }
    for name in ["\"x\"", "(x)", "x\u{e9}", "x\t", "\u{1}"] {
        add(&format!("the name {name:?}"), head(&[&GET[..], &[(name, "z")]].concat()), Refused);
    }
    for (at, value) in [
        (0, "GET /smuggled HTTP/1.1\r\nx:"),
        (0, "G ET"),
        (0, ""),
        (0, "CONNECT"),
        (1, "ht tp"),
        (2, "u@test"),
        (2, "te st"),
        (2, "test/path"),
        (2, "a, b"),
        (2, "test\r\nx-smuggled: yes"),
        (2, "test:port"),
        (3, ""),
        (3, "/ HTTP/1.1\r\nX-Smuggled: yes\r\n\r\n"),
        (3, "/a b"),
        (3, "/\0"),
        (3, "/\r"),
        (3, "/\n"),
        (3, "path"),
        (3, "http://other/"),
        (3, "*"),
    ] {
        let mut fields_ = GET;
        fields_[at].1 = value;
        add(&format!("{} is {value:?}", GET[at].0), head(&fields_), Refused);
    }
    for (at, (name, _)) in GET.iter().enumerate() {
        let fields_: Vec<_> =
            GET.iter().copied().enumerate().filter(|(n, _)| *n != at).map(|(_, f)| f).collect();
        add(&format!("no {name}"), head(&fields_), Refused);
    }
    add("a pseudo-field after a field", head(&[&[("x", "y")], &GET[..]].concat()), Refused);
    add(
        "an extended CONNECT",
        head(&[&[(":method", "CONNECT"), (":protocol", "websocket")], &GET[1..]].concat()),
        Refused,
    );
    add("cookies in pieces", head(&[&GET[..], &[("cookie", "a=1"), ("cookie", "b=2")]].concat()), Forwarded);
    add(
        "an unknown scheme",
        head(&[(":method", "GET"), (":scheme", "ftp"), (":authority", "test"), (":path", "/")]),
        Safe,
    );
    add("a head of 70 kB", head(&[&GET[..], &[("x", &"y".repeat(16_000))]].concat()), Forwarded);
    add("HPACK that is none", frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 40]), Refused);
    add(
        "an index that there is not",
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xbe + 1, 0xff, 0xff, 0x7f]),
        Refused,
    );
    let huge_table = [&[0x3f, 0xe1, 0xff, 0xff, 0x7f][..], &fields(&GET)].concat();
    add(
        "a table size beyond what was agreed on",
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &huge_table),
        Refused,
    );
    // One large field is put into the dynamic table, and then referenced 10,000 times.
    let mut bomb = fields(&GET);
    bomb.push(0x40);
    string(&mut bomb, "x");
    string(&mut bomb, &"y".repeat(4000));
    bomb.extend([0xbe; 10_000]);
    add("an HPACK bomb", frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb), Refused);
}

fn bodies(add: &mut impl FnMut(&str, Vec<u8>, Fate)) {
    use Fate::{Forwarded, Refused, Safe};
    let data = |flags, payload: &[u8]| frame(DATA, flags, 1, payload);
    add("a body", [post(&[]), data(END_STREAM, b"hello")].concat(), Forwarded);
    add(
        "a body and its length",
        [post(&[("content-length", "5")]), data(END_STREAM, b"hello")].concat(),
        Forwarded,
    );
    add("an empty last frame", [post(&[]), data(0, b"hello"), data(END_STREAM, b"")].concat(), Forwarded);
    add("only an empty frame", [post(&[]), data(END_STREAM, b"")].concat(), Forwarded);
    let smuggling = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";
    add("chunks in a body", [post(&[]), data(END_STREAM, smuggling)].concat(), Forwarded);
    for length in ["0", "4", "6", "99999999999999999999"] {
        let head = post(&[("content-length", length)]);
        add(
            &format!("a body of 5 that announces {length}"),
            [head, data(END_STREAM, b"hello")].concat(),
            Safe,
        );
    }
    for (name, lengths) in [("that differ", ["5", "6"]), ("that agree", ["5", "5"])] {
        let head = post(&[("content-length", lengths[0]), ("content-length", lengths[1])]);
        add(&format!("two lengths {name}"), [head, data(END_STREAM, b"hello")].concat(), Safe);
    }
    let trailers = |fields_: &[(&str, &str)]| frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(fields_));
    add("trailers", [post(&[]), data(0, b"hello"), trailers(&[("x-smuggled", "yes")])].concat(), Forwarded);
    // RFC 9113, 8.1: the request is malformed, so the backend must not get its end.
    for (name, value) in [
        (":path", "/smuggled"),
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "other"),
        (":status", "200"),
        (":unknown", "x"),
        ("x\"", "y"),
        ("x y", "z"),
        ("X", "y"),
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
    ] {
        add(
            &format!("trailers with {name}: {value}"),
            [post(&[]), data(0, b"hello"), trailers(&[(name, value)])].concat(),
            Refused,
        );
    }
    let open = frame(HEADERS, END_HEADERS, 1, &fields(&[("x", "y")]));
    // A second `:path`: from the static table, Huffman-coded, or from the dynamic table, where the head put it; and each with
    // the end of the block in a separate frame.
    let put = b"\x83\x86\x41\x04test\x44\x05/path";
    let request = frame(HEADERS, END_HEADERS, 1, put);
    // The same with a regular field in the dynamic table, which the trailers may reference.
    let field = [&put[..], b"\x40\x01x\x01y"].concat();
    let refers = [frame(HEADERS, END_HEADERS, 1, &field), data(0, b"hello")].concat();
    let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xbe\x0f\x2f\x01z");
    add("fields in trailers, from the dynamic table", [refers, trailers].concat(), Forwarded);
    for (name, block) in [
        ("from the static table", &b"\x84"[..]),
        ("Huffman-coded", b"\x00\x84\xb9\x58\xd3\x3f\x01/"),
        ("from the dynamic table", b"\xbe"),
        ("named from the dynamic table", b"\x0f\x2f\x01/"),
    ] {
        let whole = frame(HEADERS, END_HEADERS | END_STREAM, 1, block);
        let cut = [frame(HEADERS, END_STREAM, 1, block), frame(CONTINUATION, END_HEADERS, 1, b"")].concat();
        for (form, trailers) in [("", whole), (", whose end comes alone", cut)] {
            let name = format!("a pseudo-field in trailers, {name}{form}");
            add(&name, [request.clone(), data(0, b"hello"), trailers].concat(), Refused);
        }
    }
    add("trailers that do not end", [post(&[]), data(0, b"hello"), open].concat(), Safe);
    add("more padding than payload", [post(&[]), frame(DATA, PADDED, 1, &[200, 1, 2])].concat(), Safe);
    add(
        "a body after its end",
        [post(&[]), data(END_STREAM, b"hello"), data(END_STREAM, b"more")].concat(),
        Safe,
    );
    add("a body on a stream that never was", frame(DATA, END_STREAM, 1, b"hello"), Refused);
}

fn out_of_place(add: &mut impl FnMut(&str, Vec<u8>, Fate)) {
    use Fate::{Any, Forwarded, Refused, Safe};
    add("a frame of no known kind", [frame(0xbe, 0xff, 0, b"noise"), get(1)].concat(), Forwarded);
    add("a stream with an even number", get(2), Refused);
    add("stream 0", get(0), Refused);
    add("a stream number that goes back", [get(5), get(3)].concat(), Any);
    add("the same stream twice", [get(1), get(1)].concat(), Safe);
    add("a reset of a stream that never was", [frame(RST_STREAM, 0, 7, &[0; 4]), get(9)].concat(), Refused);
    add("a reset of the connection", [frame(RST_STREAM, 0, 0, &[0; 4]), get(1)].concat(), Refused);
    add("a push", [frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]), get(1)].concat(), Refused);
    add(
        "a continuation of nothing",
        [frame(CONTINUATION, END_HEADERS, 1, &fields(&GET)), get(1)].concat(),
        Refused,
    );
    let half = frame(HEADERS, END_STREAM, 1, &fields(&GET));
    add("another frame inside a head", [half.clone(), frame(PING, 0, 0, &[0; 8]), get(3)].concat(), Refused);
    add("another stream inside a head", [half, get(3)].concat(), Refused);
    add("a stream that depends on itself", [frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0]), get(1)].concat(), Safe);
    add("a window of 0 more", [frame(WINDOW_UPDATE, 0, 0, &[0; 4]), get(1)].concat(), Safe);
    let most = [0x7f, 0xff, 0xff, 0xff];
    add("a window beyond all bounds", [frame(WINDOW_UPDATE, 0, 0, &most), get(1)].concat(), Safe);
    add("settings of 5 bytes", [frame(SETTINGS, 0, 0, &[0; 5]), get(1)].concat(), Refused);
    add("settings of a stream", [frame(SETTINGS, 0, 1, &[]), get(1)].concat(), Refused);
    add(
        "an initial window beyond all bounds",
        [frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]), get(1)].concat(),
        Refused,
    );
    add("a frame size of 1", [frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]), get(1)].concat(), Refused);
    add(
        "a window of nothing at all",
        [frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]), get(1)].concat(),
        Forwarded,
    );
    add("an answer to no settings", [frame(SETTINGS, ACK, 0, &[1]), get(1)].concat(), Refused);
    add("a ping of 7 bytes", [frame(PING, 0, 0, &[0; 7]), get(1)].concat(), Refused);
    add("a frame that is too large", [frame(DATA, 0, 1, &vec![0; 20_000]), get(1)].concat(), Refused);
    add("a farewell, and a request", [frame(GOAWAY, 0, 0, &[0; 8]), get(1)].concat(), Safe);
    add("half a frame", get(1)[..12].to_vec(), Refused);
}

fn floods(add: &mut impl FnMut(&str, Vec<u8>, Fate)) {
    use Fate::{Any, Refused, Safe};
    let reset = |stream| frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    let streams = || (0..20_000_u32).map(|n| 2 * n + 1);
    add(
        "20,000 requests that are reset at once",
        streams().flat_map(|s| [get(s), reset(s)].concat()).collect(),
        Any,
    );
    add("20,000 requests", streams().flat_map(get).collect(), Any);
    let bad = |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields(&[(":method", "GET")]));
    add("20,000 requests that are none", streams().flat_map(bad).collect(), Refused);
    let part = frame(HEADERS, END_STREAM, 1, &fields(&GET));
    let more = frame(CONTINUATION, 0, 1, &fields(&[("x", "y")])).repeat(50_000);
    add("50,000 continuations", [part.clone(), more].concat(), Refused);
    add(
        "50,000 empty continuations",
        [part, frame(CONTINUATION, 0, 1, &[]).repeat(50_000)].concat(),
        Refused,
    );
    add("100,000 empty frames of a body", [post(&[]), frame(DATA, 0, 1, &[]).repeat(100_000)].concat(), Safe);
    let padded = frame(DATA, PADDED, 1, &[9, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    add("50,000 frames of padding", [post(&[]), padded.repeat(50_000)].concat(), Safe);
    add("50,000 pings", [get(1), frame(PING, 0, 0, &[0; 8]).repeat(50_000)].concat(), Safe);
    add(
        "50,000 settings",
        [get(1), frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]).repeat(50_000)].concat(),
        Safe,
    );
    add("50,000 priorities", [frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 0]).repeat(50_000), get(5)].concat(), Safe);
    add("50,000 windows", [get(1), frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(50_000)].concat(), Safe);
    add("50,000 frames of no known kind", [frame(0xbe, 0, 0, &[]).repeat(50_000), get(1)].concat(), Safe);
}
