//! A case: what one client writes, and what may become of it.

use std::time::Duration;

/// What would be a second request to whoever ends the first one early.
pub const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: test\r\nX-Smuggled: yes\r\n\r\n";

/// What may become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is answered with 4xx or 5xx, or its connection is closed; the backend hears nothing of it.
    Refused,
    /// As before, and closed by the proxy itself.
    Closed,
    /// It is answered with 400; the backend hears nothing of it.
    BadRequest,
    /// The backend gets exactly this one, in a form that cannot be read in two ways.
    Forwarded,
    /// Either.
    Safe,
    /// Any number of requests, each in a form that cannot be read in two ways.
    Any,
    /// So many requests, one after the other: this is pipelining, and allowed.
    Pipelined(usize),
    /// The framing of its body is broken. At most one answer, and the connection is closed: where the next request would begin
    /// nobody knows (RFC 9112, 9.3). The backend gets no whole request.
    Broken,
    /// Its body is odd, but valid: it is served with so many bytes of data, and so is the request for `/second` that follows.
    Whole(usize),
    /// Its body is valid, and it may be answered before that is read. Then either the rest is read and the request for
    /// `/second` is served, or the connection is closed (RFC 9112, 9.3).
    Early,
    /// Its body may be taken for broken, or for valid with so many bytes of data, but for nothing in between.
    Odd(usize),
}

pub struct Case {
    pub name: String,
    /// Cases that differ only in what is around them are of one kind.
    pub kind: &'static str,
    /// What the client writes, with a pause before each but the first.
    pub writes: Vec<Vec<u8>>,
    pub pause: Duration,
    /// The client ends its side of the connection after the last write.
    pub ends: bool,
    pub fate: Fate,
}

impl Case {
    /// A case that is written at once.
    pub fn new(name: impl Into<String>, bytes: impl AsRef<[u8]>, fate: Fate) -> Self {
        Self {
            name: name.into(),
            kind: "",
            writes: vec![bytes.as_ref().to_vec()],
            pause: Duration::ZERO,
            ends: false,
            fate,
        }
    }

    /// Final answers after which no more of the connection has to be seen.
    pub fn enough(&self) -> usize {
        match self.fate {
            Fate::Broken | Fate::Whole(_) | Fate::Early | Fate::Odd(_) => 2,
            _ => usize::MAX,
        }
    }

    /// How long the client waits for more after an answer.
    pub fn patience(&self) -> Duration {
        match self.fate {
            // For the close that has to come, and for the second answer; both take milliseconds.
            Fate::Closed | Fate::Broken | Fate::Whole(_) | Fate::Early | Fate::Odd(_) => {
                Duration::from_secs(3)
            }
            _ => Duration::from_millis(150),
        }
    }
}

/// Cases as they are collected.
#[derive(Default)]
pub struct Corpus(pub Vec<Case>);

impl Corpus {
    pub fn add(&mut self, name: impl Into<String>, bytes: impl AsRef<[u8]>, fate: Fate) {
        self.0.push(Case::new(name, bytes, fate));
    }

    /// A request with these lines after its first one and its `Host`.
    pub fn head(&mut self, name: impl Into<String>, lines: &str, fate: Fate) {
        self.add(name, format!("GET / HTTP/1.1\r\nHost: test\r\n{lines}\r\n\r\n"), fate);
    }

    pub fn post(&mut self, name: impl Into<String>, lines: &str, body: &str, fate: Fate) {
        self.add(name, format!("POST / HTTP/1.1\r\nHost: test\r\n{lines}\r\n\r\n{body}"), fate);
    }
}
