//! Bodies of requests: each odd one in each phase of an exchange, and then what would be another request.

use std::time::Duration;

use super::case::{Case, Fate, SMUGGLED};
use super::chunks;

/// What the body is, by RFC 9112.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// None: it breaks the rules, or a limit.
    Broken,
    /// Valid. Its data is `hello`, any number of times.
    Whole,
    /// One that a reader may refuse, or take in the one sense it has.
    Odd,
}

/// What follows a body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum After {
    Request,
    /// A request, to whoever takes the body for ended; then the connection is at its end.
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

/// The phase of an exchange that a body is read in.
struct Phase {
    name: &'static str,
    method: &'static str,
    /// It tells the backend what to do.
    target: &'static str,
    fields: &'static str,
    /// The backend reads the body before it answers.
    is_read: bool,
    /// Data before the odd part.
    before: usize,
}

/// As large as the harness's `max_request_body`, and larger.
pub const MAX_REQUEST_BODY: usize = 65_536;
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

/// How the bytes of a case come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timing {
    /// All in one write.
    Together,
    /// What follows the body comes after a pause.
    Apart,
    /// The body comes byte by byte.
    Dripping,
}

/// Bodies longer than this are not made to drip.
const DRIPS: usize = 200;

pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for body in chunks::all().iter().chain(&lengths()) {
        let is_chunked = body.framing.starts_with("Transfer-Encoding");
        for (n, phase) in PHASES.iter().enumerate() {
            // A body of a length has no chunks to come before it, and one of none is none: then an upgrade is one.
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

/// Bodies whose end is told beforehand.
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
        // Such clients wait for leave to send the body.
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
