//! Chunked bodies: broken ones, and unusual valid ones (RFC 9112, 7.1).

use super::bodies::{After, Body, Shape};

/// The rest of a body with an unusual first line. It is valid if that line is read as the size 5.
const REST: &str = "hello\r\n0\r\n\r\n";

#[derive(Default)]
struct Bodies(Vec<Body>);

impl Bodies {
    /// `what`: a description of the unusual part.
    fn add(&mut self, kind: &'static str, shape: Shape, what: &str, bytes: impl Into<Vec<u8>>) {
        self.0.push(Body {
            kind,
            name: format!("{kind}: {what}"),
            framing: "Transfer-Encoding: chunked".to_owned(),
            bytes: bytes.into(),
            shape,
            after: After::Request,
        });
    }

    /// Chunk size lines, line ends included.
    fn lines(&mut self, kind: &'static str, shape: Shape, lines: &[&str]) {
        for line in lines {
            self.add(kind, shape, &format!("{line:?}"), format!("{line}{REST}"));
        }
    }

    /// The rest of the body after a first chunk.
    fn ends(&mut self, kind: &'static str, shape: Shape, ends: &[(&str, &str)]) {
        for (what, end) in ends {
            self.add(kind, shape, what, format!("5\r\nhello{end}"));
        }
    }

    /// Bodies that do not end: the following bytes belong to an incomplete chunk. The client half-closes the connection.
    fn unfinished(&mut self, kind: &'static str, after: After, bodies: &[(&str, &str)]) {
        for (what, bytes) in bodies {
            self.add(kind, Shape::Broken, what, *bytes);
            let body = self.0.last_mut().expect("the body just added");
            body.after = after;
        }
    }
}

pub fn all() -> Vec<Body> {
    let mut bodies = Bodies::default();
    sizes(&mut bodies);
    extensions(&mut bodies);
    data(&mut bodies);
    trailers(&mut bodies);
    unfinished(&mut bodies);
    bodies.0
}

fn sizes(bodies: &mut Bodies) {
    use Shape::{Broken, Odd, Whole};
    // No body follows this one.
    bodies.add("a size that is not a number", Broken, "zz", "zz\r\n");
    bodies.lines(
        "a size that is not a number",
        Broken,
        &["g\r\n", "5h\r\n", "5_0\r\n", "5,5\r\n", "5.0\r\n", "\u{ff15}\r\n", "\"5\"\r\n"],
    );
    bodies.lines(
        "a size with a sign or a prefix",
        Broken,
        &["-1\r\n", "-5\r\n", "+5\r\n", "0x5\r\n", "0X5\r\n"],
    );
    bodies.lines(
        "a control character at a size",
        Broken,
        &["5\0\r\n", "\u{0}5\r\n", "5\u{b}\r\n", "5\u{c}\r\n", "5\u{7f}\r\n"],
    );
    for line in ["", " ", "\t", ";a=b", " ;a=b"] {
        // If a missing size is read as 0, the body ends here.
        bodies.add("a line without a size", Broken, &format!("{line:?}"), format!("{line}\r\n\r\n"));
        bodies.lines("a line without a size", Broken, &[&format!("{line}\r\n")]);
    }
    // Truncated to 64 or 32 bits, these sizes are 0 or 5.
    for size in ["10000000000000000", "100000000000000000000000000000000"] {
        bodies.add("a size beyond 64 bits", Broken, size, format!("{size}\r\n\r\n"));
    }
    for size in ["10000000000000005", "fffffffffffffffff", "100000000000000000000000000000005"] {
        bodies.add("a size beyond 64 bits", Broken, size, format!("{size}\r\n{REST}"));
    }
    bodies.lines("leading zeros", Whole, &["05\r\n", "00000000000000000000005\r\n"]);
    bodies.add(
        "leading zeros",
        Whole,
        "20 of them in the last chunk",
        "5\r\nhello\r\n000000000000000000000\r\n\r\n",
    );
    bodies.add("10,000 leading zeros", Odd, "a size", format!("{}5\r\n{REST}", "0".repeat(10_000)));
    bodies.add("10,000 leading zeros", Odd, "the last chunk", format!("{}\r\n\r\n", "0".repeat(10_000)));
    bodies.lines("blanks before a size", Broken, &[" 5\r\n", "\t5\r\n"]);
    // Not in the grammar, but unambiguous: some senders pad the size like this.
    bodies.lines("blanks after a size", Odd, &["5 \r\n", "5\t\r\n", "5    \r\n"]);
    bodies.lines("a size and more after a blank", Broken, &["5 5\r\n", "5 g\r\n"]);
    bodies.lines(
        "a size line that does not end in CRLF",
        Broken,
        &["5\n", "5\r", "5\r\r\n", "5\n\r", "5\n\r\n", "5\r\u{b}\n"],
    );
}

fn extensions(bodies: &mut Bodies) {
    use Shape::{Broken, Odd, Whole};
    let valid = ["5;a\r\n", "5;a=b\r\n", "5;a=b;c=d\r\n", "5 ; a = b\r\n", "5\t;a\r\n"];
    bodies.lines("a valid extension", Whole, &valid);
    let quoted =
        ["5;a=\"b c\"\r\n", "5;a=\"\\\"\"\r\n", "5;a=\";\"\r\n", "5;a=\"\"\r\n", "5;a=\"\u{e9}\"\r\n"];
    bodies.lines("a valid extension", Whole, &quoted);
    bodies.add("a valid extension", Whole, "of the last chunk", "5\r\nhello\r\n0;a=b\r\n\r\n");
    bodies.lines(
        "an invalid extension",
        Odd,
        &["5;\r\n", "5;=b\r\n", "5;a=\r\n", "5;;a\r\n", "5;a b\r\n", "5;a=\"b\r\n", "5;a=\"b\"c\r\n"],
    );
    bodies.lines(
        "a bare LF in an extension",
        Broken,
        &["5;\n", "5;a=b\n", "5;a=b\nc\r\n", "5;a=\"\n\"\r\n", "5;a\n\r\n", "5;a=b\n5\r\n"],
    );
    bodies.lines(
        "a bare CR in an extension",
        Broken,
        &["5;\r", "5;a=b\r", "5;a=b\rc\r\n", "5;a=\"\r\"\r\n", "5;a\r\r\n"],
    );
    bodies.lines("a quoted extension with a CRLF", Broken, &["5;a=\"\r\n\"\r\n", "5;a=\"b\r\nc\"\r\n"]);
    bodies.lines(
        "a control character in an extension",
        Broken,
        &["5;\0\r\n", "5;a=\0b\r\n", "5;a=\u{1}\r\n", "5;a=\"\0\"\r\n", "5;a=\u{7f}\r\n"],
    );
    let long = "x".repeat(100_000);
    bodies.add("an oversized extension", Broken, "of 100 kB", format!("5;{long}\r\n{REST}"));
    bodies.add("an oversized extension", Broken, "without end", format!("5;{long}"));
    bodies.add(
        "an oversized extension",
        Broken,
        "of the last chunk",
        format!("5\r\nhello\r\n0;{long}\r\n\r\n"),
    );
    let many = "5;x=yyyyyyyyyyyyyyyyyyyy\r\nhello\r\n".repeat(5000);
    bodies.add("an extension on each of 5,000 chunks", Odd, "20 bytes", format!("{many}0\r\n\r\n"));
}

fn data(bodies: &mut Bodies) {
    use Shape::Broken;
    bodies.ends(
        "data without its CRLF",
        Broken,
        &[
            ("none", "0\r\n\r\n"),
            ("LF", "\n0\r\n\r\n"),
            ("CR", "\r0\r\n\r\n"),
            ("two other bytes", "XX0\r\n\r\n"),
            ("CR and another byte", "\rX0\r\n\r\n"),
            ("another byte and LF", "X\n0\r\n\r\n"),
            ("CR CR LF", "\r\r\n0\r\n\r\n"),
            ("LF CR", "\n\r0\r\n\r\n"),
            ("a blank", " \r\n0\r\n\r\n"),
        ],
    );
    bodies.ends("data longer than its size", Broken, &[("by 6", " world\r\n0\r\n\r\n")]);
    bodies.add("data longer than its size", Broken, "by 2", format!("3\r\n{REST}"));
    bodies.add("data longer than its size", Broken, "by a chunk", "5\r\nhello0\r\n\r\n0\r\n\r\n");
    bodies.add("data shorter than its size", Broken, "by 1", format!("6\r\n{REST}"));
    bodies.add("data shorter than its size", Broken, "by 4", format!("9\r\n{REST}"));
    bodies.ends(
        "no last chunk",
        Broken,
        &[("a request in its place", "\r\n"), ("an empty line", "\r\n\r\n")],
    );
}

fn trailers(bodies: &mut Bodies) {
    use Shape::{Broken, Odd, Whole};
    bodies.ends(
        "a last chunk with LFs",
        Broken,
        &[
            ("both", "\r\n0\n\n"),
            ("the first", "\r\n0\n\r\n"),
            ("the second", "\r\n0\r\n\n"),
            ("a CR", "\r\n0\r\r\n"),
            ("CRs", "\r\n0\r\n\r\r\n"),
        ],
    );
    bodies.ends("a last chunk without its empty line", Broken, &[("a request in its place", "\r\n0\r\n")]);
    bodies.ends(
        "valid trailers",
        Whole,
        &[
            ("one", "\r\n0\r\nX-Smuggled: yes\r\n\r\n"),
            ("several", "\r\n0\r\nA: b\r\nC:d\r\nE:\r\n\r\n"),
            ("beyond ASCII", "\r\n0\r\nA: \u{e9}\r\n\r\n"),
        ],
    );
    // RFC 9110, 6.5.1: these fields are not allowed in trailers, and must be ignored there.
    bodies.ends(
        "trailers that frame or route",
        Odd,
        &[
            ("Content-Length", "\r\n0\r\nContent-Length: 99\r\n\r\n"),
            ("Transfer-Encoding", "\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            ("Host", "\r\n0\r\nHost: other\r\n\r\n"),
        ],
    );
    bodies.ends(
        "a trailer that is not a field",
        Broken,
        &[
            ("a request line", "\r\n0\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
            ("a word", "\r\n0\r\nx\r\n\r\n"),
            ("no name", "\r\n0\r\n: y\r\n\r\n"),
            ("a space before the colon", "\r\n0\r\nX : y\r\n\r\n"),
            ("a space in the name", "\r\n0\r\nX Y: z\r\n\r\n"),
            ("a NUL in the value", "\r\n0\r\nX: y\0\r\n\r\n"),
        ],
    );
    // Heads with these are rejected too, although RFC 9112, 2.2 and 5.2, allows correcting them.
    bodies.ends(
        "a folded trailer",
        Broken,
        &[
            ("a space", "\r\n0\r\nA: b\r\n X-Smuggled: yes\r\n\r\n"),
            ("a tab", "\r\n0\r\nA: b\r\n\tc\r\n\r\n"),
            ("at the beginning", "\r\n0\r\n A: b\r\n\r\n"),
        ],
    );
    bodies.ends(
        "a trailer with a bare LF or CR",
        Broken,
        &[
            ("LF", "\r\n0\r\nA: b\nC: d\r\n\r\n"),
            ("LFs at the end", "\r\n0\r\nA: b\n\n"),
            ("an empty line of LF", "\r\n0\r\nA: b\r\n\n"),
            ("CR", "\r\n0\r\nA: b\rC: d\r\n\r\n"),
            ("CR at the end", "\r\n0\r\nA: b\r\r\n\r\n"),
        ],
    );
    let many: String = (0..20_000).map(|n| format!("X-{n}: y\r\n")).collect();
    bodies.add("endless trailers", Broken, "20,000 of them", format!("5\r\nhello\r\n0\r\n{many}"));
    let long = "y".repeat(200_000);
    bodies.add("endless trailers", Broken, "one of 200 kB", format!("5\r\nhello\r\n0\r\nX: {long}\r\n\r\n"));
    bodies.add("endless trailers", Broken, "a name of 200 kB", format!("5\r\nhello\r\n0\r\n{long}"));
}

fn unfinished(bodies: &mut Bodies) {
    bodies.unfinished(
        "a chunk that never ends",
        After::RequestAndEnd,
        &[
            ("2^63 - 1", "7fffffffffffffff\r\nhello\r\n0\r\n\r\n"),
            ("2^63", "8000000000000000\r\nhello\r\n0\r\n\r\n"),
            ("2^64 - 1", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
            ("2^64 - 2", "fffffffffffffffe\r\n\r\n"),
            ("2^32", "100000000\r\n\r\n"),
            ("2^32 + 5", "100000005\r\nhello\r\n0\r\n\r\n"),
            ("255", "ff\r\nhello\r\n0\r\n\r\n"),
        ],
    );
    bodies.unfinished(
        "a body cut off",
        After::End,
        &[
            ("before it begins", ""),
            ("in a size", "5"),
            ("in the end of a size", "5\r"),
            ("in an extension", "5;a"),
            ("after a size", "5\r\n"),
            ("in its data", "5\r\nhel"),
            ("after its data", "5\r\nhello"),
            ("in the end of its data", "5\r\nhello\r"),
            ("after a chunk", "5\r\nhello\r\n"),
            ("in the last chunk", "5\r\nhello\r\n0"),
            ("after the size of the last chunk", "5\r\nhello\r\n0\r\n"),
            ("in a trailer", "5\r\nhello\r\n0\r\nX: y"),
            ("after a trailer", "5\r\nhello\r\n0\r\nX: y\r\n"),
            ("before the last byte", "5\r\nhello\r\n0\r\n\r"),
        ],
    );
}
