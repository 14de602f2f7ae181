//! Request bodies: each unusual or broken one in each phase of an exchange, followed by bytes that look like a request.

use std::time::Duration;

use super::case::{Case, Fate, SMUGGLED};
use super::chunks;

/// The validity of a body by RFC 9112.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Invalid, or beyond a limit.
    Broken,
    /// Valid. Its data is `hello`, repeated any number of times.
    Whole,
    /// Unambiguous, but a recipient may reject it.
    Odd,
}

/// What follows the body on the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum After {
    Request,
    /// Bytes that look like a request if the body is taken to have ended, and then the end of the connection.
    RequestAndEnd,
    End,
}

pub struct Body {
    pub kind: &'static str,
    pub name: String,
    pub framing: String,
    pub bytes: Vec<u8>,
    pub shape: Shape,
    pub after: After,
}

/// The phase of an exchange in which the body is read.
struct Phase {
    name: &'static str,
    method: &'static str,
    /// Selects the script of the backend.
    target: &'static str,
    fields: &'static str,
    /// The backend reads the body before it answers.
    is_read: bool,
    /// Bytes of data before the unusual part.
    before: usize,
}

/// The `max_request_body` of the proxies under test.
pub const MAX_REQUEST_BODY: usize = 65_536;
/// More than that.
const TOO_LARGE: usize = 70_000;

const EXPECT: &str = "Expect: 100-continue\r\n";
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

const PLAIN: Phase = Phase { name: "", method: "POST", target: "/", fields: "", is_read: true, before: 5 };

const PHASES: [Phase; 10] = [
    Phase { name: "the first chunk", before: 0, ..PLAIN },
    Phase { name: "a later chunk", ..PLAIN },
    Phase { name: "answered early", target: "/early", is_read: false, ..PLAIN },
    Phase { name: "refused early", target: "/too-large", is_read: false, ..PLAIN },
    Phase { name: "after 100", target: "/continue", fields: EXPECT, ..PLAIN },
    Phase { name: "after 417", target: "/expectation", fields: EXPECT, is_read: false, ..PLAIN },
    Phase { name: "of an upgrade", method: "GET", fields: UPGRADE, ..PLAIN },
    Phase { name: "after 101", method: "GET", target: "/switch", fields: UPGRADE, is_read: false, before: 5 },
    Phase { name: "beyond the limit", is_read: false, before: TOO_LARGE, ..PLAIN },
    Phase { name: "of a GET", method: "GET", ..PLAIN },
];

/// How the client sends the bytes of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timing {
    /// In one write.
    Together,
    /// With a pause after the body.
    Apart,
    /// With the body byte by byte.
    Dripping,
}

/// The most bytes of a body that is sent byte by byte.
const DRIPS: usize = 200;

pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for body in chunks::all().iter().chain(&lengths()) {
        let is_chunked = body.framing.starts_with("Transfer-Encoding");
        for (n, phase) in PHASES.iter().enumerate() {
            // A body with a length has no chunks before it. An upgrade with an empty body is a valid upgrade.
            let is_none = body.framing == "Content-Length: 0" && phase.fields == UPGRADE;
            if is_none || (!is_chunked && (n == 0 || phase.before == TOO_LARGE)) {
                continue;
            }
            cases.push(case(body, phase, Timing::Together));
            cases.push(case(body, phase, Timing::Apart));
            if phase.is_read && phase.before == 0 && body.bytes.len() <= DRIPS {
                cases.push(case(body, phase, Timing::Dripping));
            }
        }
    }
    cases
}

/// Bodies with a `Content-Length`.
fn lengths() -> Vec<Body> {
    let body = |kind, length: usize, bytes: &str, shape, after| Body {
        kind,
        name: format!("{kind}: {length}"),
        framing: format!("Content-Length: {length}"),
        bytes: bytes.into(),
        shape,
        after,
    };
    vec![
        body("a body of its length", 5, "hello", Shape::Whole, After::Request),
        body("a body of its length", 0, "", Shape::Whole, After::Request),
        body("a body shorter than its length", 500, "hello", Shape::Broken, After::RequestAndEnd),
        body("a body shorter than its length", 6, "hello", Shape::Broken, After::End),
        body("a body shorter than its length", TOO_LARGE, "hello", Shape::Broken, After::RequestAndEnd),
    ]
}

fn case(body: &Body, phase: &Phase, timing: Timing) -> Case {
    let Phase { method, target, fields, before, .. } = phase;
    let head = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{fields}{}\r\n\r\n", body.framing);
    let mut bytes = Vec::new();
    if *before > 0 && body.framing.starts_with("Transfer-Encoding") {
        bytes.extend_from_slice(format!("{before:x}\r\n{}\r\n", "hello".repeat(before / 5)).as_bytes());
    }
    bytes.extend_from_slice(&body.bytes);
    let data = bytes.windows(5).filter(|part| part == b"hello").count() * 5;
    let surplus = match (body.after, body.shape) {
        (After::End, _) => "",
        (_, Shape::Broken) => SMUGGLED,
        _ => "GET /second HTTP/1.1\r\nHost: test\r\n\r\n",
    };
    let writes = match timing {
        Timing::Together => vec![[head.as_bytes(), &bytes, surplus.as_bytes()].concat()],
        // With `Expect: 100-continue`, the body is sent after a pause too.
        Timing::Apart if *fields == EXPECT => vec![head.into(), bytes, surplus.into()],
        Timing::Apart => vec![[head.as_bytes(), &bytes].concat(), surplus.into()],
        Timing::Dripping => {
            let drops = bytes.iter().map(|byte| vec![*byte]);
            [head.into()].into_iter().chain(drops).chain([surplus.into()]).collect()
        }
    };
    let pause = if timing == Timing::Dripping { 1 } else { 50 };
    let fate = match body.shape {
        Shape::Broken => Fate::Broken,
        Shape::Odd => Fate::Odd(data),
        Shape::Whole if phase.is_read => Fate::Whole(data),
        Shape::Whole => Fate::Early,
    };
    Case {
        name: format!("{}, {}, {timing:?}", body.name, phase.name),
        kind: body.kind,
        writes,
        pause: Duration::from_millis(pause),
        ends: body.after != After::Request,
        fate,
    }
}
