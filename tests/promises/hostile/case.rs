//! A case: the bytes that a client writes, and the acceptable results.

use std::time::Duration;

/// A second request, if the first one is taken to end early.
pub const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: test\r\nX-Smuggled: yes\r\n\r\n";

/// The acceptable results of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A 4xx or 5xx response or a closed connection. The backend gets no request.
    Refused,
    /// The same, and the proxy closes the connection.
    Closed,
    /// A 400 response. The backend gets no request.
    BadRequest,
    /// The backend gets exactly this request, in an unambiguous form.
    Forwarded,
    /// [`Self::Refused`] or [`Self::Forwarded`].
    Safe,
    /// The backend gets any number of requests, all in an unambiguous form.
    Any,
    /// The backend gets this number of pipelined requests.
    Pipelined(usize),
    /// The framing of the body is broken. There is at most one response, and the connection is closed, because the beginning
    /// of the next request is unknown (RFC 9112, 9.3). The backend gets no complete request.
    Broken,
    /// The body is unusual but valid. The backend gets it with this number of bytes of data, and then the request for
    /// `/second`.
    Whole(usize),
    /// The body is valid, and the response may come before it is read. Then either the rest is read and the request for
    /// `/second` is served, or the connection is closed (RFC 9112, 9.3).
    Early,
    /// The body is treated either as broken, or as valid with this number of bytes of data.
    Odd(usize),
}

pub struct Case {
    pub name: String,
    /// The kind of body. Cases of a kind differ only in phase and timing.
    pub kind: &'static str,
    /// The writes of the client, with a pause before each except the first.
    pub writes: Vec<Vec<u8>>,
    pub pause: Duration,
    /// The client half-closes the connection after the last write.
    pub ends: bool,
    pub fate: Fate,
}

impl Case {
    /// A case with a single write.
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

    /// The number of final responses after which the client stops reading.
    pub fn enough(&self) -> usize {
        match self.fate {
            Fate::Broken | Fate::Whole(_) | Fate::Early | Fate::Odd(_) => 2,
            _ => usize::MAX,
        }
    }

    /// How long the client waits for more bytes after a response.
    pub fn patience(&self) -> Duration {
        match self.fate {
            // A close or a second response must follow. Normally that takes milliseconds.
            Fate::Closed | Fate::Broken | Fate::Whole(_) | Fate::Early | Fate::Odd(_) => {
                Duration::from_secs(3)
            }
            _ => Duration::from_millis(150),
        }
    }
}

/// A list of cases under construction.
#[derive(Default)]
pub struct Corpus(pub Vec<Case>);

impl Corpus {
    pub fn add(&mut self, name: impl Into<String>, bytes: impl AsRef<[u8]>, fate: Fate) {
        self.0.push(Case::new(name, bytes, fate));
    }

    /// A GET with these lines after `Host`.
    pub fn head(&mut self, name: impl Into<String>, lines: &str, fate: Fate) {
        self.add(name, format!("GET / HTTP/1.1\r\nHost: test\r\n{lines}\r\n\r\n"), fate);
    }

    pub fn post(&mut self, name: impl Into<String>, lines: &str, body: &str, fate: Fate) {
        self.add(name, format!("POST / HTTP/1.1\r\nHost: test\r\n{lines}\r\n\r\n{body}"), fate);
    }
}
