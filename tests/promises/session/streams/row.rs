//! A row of the table: a request, the response of a backend, and what must become of it.

use std::time::Duration;

use sidestream::session::Close;

use super::error_form::{ErrorForm, outcome_of};

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: &'static str,
    pub path: &'static str,
    pub fields: Vec<(&'static str, &'static str)>,
    pub body: String,
}

impl Request {
    pub fn post(path: &'static str, body: impl Into<String>) -> Self {
        Self { method: "POST", path, fields: Vec::new(), body: body.into() }
    }

    pub fn get(path: &'static str) -> Self {
        Self { method: "GET", path, fields: Vec::new(), body: String::new() }
    }

    pub fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.fields.push((name, value));
        self
    }
}

/// How a response is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Chunked,
    /// With a `Content-Length` that counts all pieces.
    Length,
    /// HTTP/1.0: its end is the end of the connection.
    Close,
    /// It has no body.
    Nothing,
}

/// What a response is to be taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Events,
    /// JSON texts, one a line.
    Lines,
    /// None of the proxy's business.
    Opaque,
}

/// The head of a response.
#[derive(Clone, Debug)]
pub struct Head {
    pub status: &'static str,
    pub content_types: Vec<&'static str>,
    /// Further lines.
    pub more: &'static str,
    pub framing: Framing,
    pub kind: Kind,
}

impl Head {
    pub fn new(kind: Kind, content_types: &[&'static str]) -> Self {
        let content_types = content_types.to_vec();
        Self { status: "200 OK", content_types, more: "", framing: Framing::Chunked, kind }
    }

    pub fn events() -> Self {
        Self::new(Kind::Events, &["text/event-stream"])
    }

    pub fn lines() -> Self {
        Self::new(Kind::Lines, &["application/x-ndjson"])
    }

    /// Whether the first of its types alone says that it is an event stream.
    pub fn says_events_first(&self) -> bool {
        let essence = self.content_types.first().and_then(|first| first.split(';').next());
        essence.is_some_and(|essence| essence.eq_ignore_ascii_case("text/event-stream"))
    }

    pub fn status(self, status: &'static str) -> Self {
        Self { status, ..self }
    }

    pub fn framed(self, framing: Framing) -> Self {
        Self { framing, ..self }
    }
}

/// What becomes of the bytes of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They reach the client at once, and whatever was held back before them too.
    Passes,
    /// They are held back until what follows passes.
    Waits,
    /// They are part of an event that never becomes whole.
    Lost,
}

/// What a backend writes at once.
#[derive(Clone, Debug)]
pub struct Piece {
    /// How long it waits before that.
    pub pause: Duration,
    pub bytes: Vec<u8>,
    pub fate: Fate,
}

/// How the backend's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As its framing says.
    Clean,
    /// With a RST.
    Reset,
    /// With a FIN inside its framing.
    Closed,
    /// Not at all: nothing more comes.
    Stall,
}

/// One stream.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    pub request: Request,
    pub head: Head,
    /// Keys of the `stream` section.
    pub keys: &'static str,
    pub pieces: Vec<Piece>,
    pub end: End,
    /// The head says something that a session is told by whoever has read it.
    pub is_for_sockets: bool,
    // What must become of it, from here on.
    /// Line ends that complete the last event.
    pub completion: &'static str,
    pub error: Option<(ErrorForm, &'static str)>,
    /// Why the backend's side failed.
    pub code: Option<&'static str>,
    pub close: Close,
    pub outcome: &'static str,
    /// When the first content is delivered, from the beginning on.
    pub first_token: Option<Duration>,
    /// Tokens of the input and of the output.
    pub usage: (Option<u64>, Option<u64>),
    /// The name of the dialect.
    pub dialect: &'static str,
}

/// The row is told as a story: first what the backend does, then what must become of it.
impl Row {
    /// An event stream in no dialect, that ends cleanly at once and is complete.
    pub fn new(name: impl Into<String>, request: Request) -> Self {
        Self {
            name: name.into(),
            request,
            head: Head::events(),
            keys: "",
            pieces: Vec::new(),
            end: End::Clean,
            is_for_sockets: false,
            completion: "",
            error: None,
            code: None,
            close: Close::Clean,
            outcome: "completed",
            first_token: None,
            usage: (None, None),
            dialect: "generic",
        }
    }

    pub fn head(self, head: Head) -> Self {
        Self { head, ..self }
    }

    pub fn keys(self, keys: &'static str) -> Self {
        Self { keys, ..self }
    }

    pub fn for_sockets(self) -> Self {
        Self { is_for_sockets: true, ..self }
    }

    fn piece(mut self, seconds: u64, bytes: impl AsRef<[u8]>, fate: Fate) -> Self {
        let (pause, bytes) = (Duration::from_secs(seconds), bytes.as_ref().to_vec());
        self.pieces.push(Piece { pause, bytes, fate });
        self
    }

    /// The backend sends what passes at once.
    pub fn sends(self, bytes: impl AsRef<[u8]>) -> Self {
        self.piece(0, bytes, Fate::Passes)
    }

    /// The same after so many seconds.
    pub fn after(self, seconds: u64, bytes: impl AsRef<[u8]>) -> Self {
        self.piece(seconds, bytes, Fate::Passes)
    }

    /// The backend sends what passes only with what follows.
    pub fn holds(self, bytes: impl AsRef<[u8]>) -> Self {
        self.piece(0, bytes, Fate::Waits)
    }

    /// The backend sends what never passes.
    pub fn loses(self, bytes: impl AsRef<[u8]>) -> Self {
        self.piece(0, bytes, Fate::Lost)
    }

    /// Sends each of these a second after the one before, the first one at once.
    pub fn paces<'e>(mut self, events: impl IntoIterator<Item = &'e str>) -> Self {
        for event in events {
            let seconds = u64::from(!self.pieces.is_empty());
            self = self.after(seconds, event);
        }
        self
    }

    pub fn resets(self) -> Self {
        Self { end: End::Reset, ..self }
    }

    pub fn closes(self) -> Self {
        Self { end: End::Closed, ..self }
    }

    pub fn stalls(self) -> Self {
        Self { end: End::Stall, ..self }
    }

    pub fn ending(self, end: End) -> Self {
        Self { end, ..self }
    }

    /// The client is told with an event, and its side ends cleanly.
    pub fn raises(self, form: ErrorForm, code: &'static str) -> Self {
        Self { error: Some((form, code)), close: Close::Clean, ..self.fails(code) }
    }

    /// The client is told with an event, and then its connection breaks.
    pub fn raises_and_breaks(self, form: ErrorForm, code: &'static str) -> Self {
        Self { error: Some((form, code)), ..self.breaks(code) }
    }

    /// The client's connection breaks, and nothing is added.
    pub fn breaks(self, code: &'static str) -> Self {
        Self { close: Close::Break, ..self.fails(code) }
    }

    fn fails(self, code: &'static str) -> Self {
        Self { code: Some(code), outcome: outcome_of(code), ..self }
    }

    /// The backend has reported an error itself.
    pub fn reports_an_error(self) -> Self {
        Self { outcome: "upstream_error", ..self }
    }

    pub fn completed_by(self, line_ends: &'static str) -> Self {
        Self { completion: line_ends, ..self }
    }

    /// The first content is delivered after so many seconds.
    pub fn token_at(self, seconds: u64) -> Self {
        Self { first_token: Some(Duration::from_secs(seconds)), ..self }
    }

    pub fn counts(self, input: impl Into<Option<u64>>, output: impl Into<Option<u64>>) -> Self {
        Self { usage: (input.into(), output.into()), ..self }
    }

    pub fn speaks(self, dialect: &'static str) -> Self {
        Self { dialect, ..self }
    }

    /// All that passes of what the backend sends.
    pub fn passed(&self) -> Vec<u8> {
        let passing = self.pieces.iter().filter(|piece| piece.fate != Fate::Lost);
        passing.flat_map(|piece| piece.bytes.iter().copied()).collect()
    }

    /// How much of that has passed for sure when the last piece is written.
    pub fn passed_before_end(&self) -> usize {
        let last = self.pieces.iter().rposition(|piece| piece.fate == Fate::Passes).map_or(0, |at| at + 1);
        let passed = self.pieces[..last].iter().filter(|piece| piece.fate != Fate::Lost);
        passed.map(|piece| piece.bytes.len()).sum()
    }
}
