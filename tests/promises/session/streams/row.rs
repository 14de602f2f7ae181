//! A row of the table: a request, the response of the backend, and the expected results.

use std::time::Duration;

use sidestream::session::Close;

use super::error_form::{ErrorForm, outcome_of};

/// A request.
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
    /// With a `Content-Length` for all pieces.
    Length,
    /// HTTP/1.0: the end of the connection ends the body.
    Close,
    /// Without a body.
    Nothing,
}

/// The expected format of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Events,
    /// JSON lines.
    Lines,
    /// Relayed unchanged.
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

    /// Whether the first media type is that of an event stream.
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

/// What must happen to the bytes of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They are relayed at once, together with any bytes held back before them.
    Passes,
    /// They are held back until a later piece is relayed.
    Waits,
    /// They belong to an event that is never completed, and are dropped.
    Lost,
}

/// One write of the backend.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The pause before it.
    pub pause: Duration,
    pub bytes: Vec<u8>,
    pub fate: Fate,
}

/// How the backend's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With the end of its framing.
    Clean,
    /// With a RST.
    Reset,
    /// With a FIN inside its framing.
    Closed,
    /// Never: nothing more is sent.
    Stall,
}

/// One stream with its expected results.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    pub request: Request,
    pub head: Head,
    /// Keys of the `stream` section.
    pub keys: &'static str,
    pub pieces: Vec<Piece>,
    pub end: End,
    /// The result depends on the head, which the tests without I/O do not parse.
    pub is_for_sockets: bool,
    // The expected results follow.
    /// The line ends that are added to complete the last event.
    pub completion: &'static str,
    pub error: Option<(ErrorForm, &'static str)>,
    /// The code of the failure.
    pub code: Option<&'static str>,
    pub close: Close,
    pub outcome: &'static str,
    /// When the first content is delivered, from the beginning.
    pub first_token: Option<Duration>,
    /// The token counts of input and output.
    pub usage: (Option<u64>, Option<u64>),
    /// The name of the dialect. Empty: any.
    pub dialect: &'static str,
}

/// Builds a row: first the actions of the backend, then the expected results.
impl Row {
    /// An empty event stream in no known dialect with a clean end. It is complete.
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

    /// The backend sends bytes that are relayed at once.
    pub fn sends(self, bytes: impl AsRef<[u8]>) -> Self {
        self.piece(0, bytes, Fate::Passes)
    }

    /// The same after this number of seconds.
    pub fn after(self, seconds: u64, bytes: impl AsRef<[u8]>) -> Self {
        self.piece(seconds, bytes, Fate::Passes)
    }

    /// The backend sends bytes that are held back until a later piece.
    pub fn holds(self, bytes: impl AsRef<[u8]>) -> Self {
        self.piece(0, bytes, Fate::Waits)
    }

    /// The backend sends bytes that are dropped.
    pub fn loses(self, bytes: impl AsRef<[u8]>) -> Self {
        self.piece(0, bytes, Fate::Lost)
    }

    /// The backend sends these events at intervals of one second, the first one at once.
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

    /// The client gets an error event and a clean end.
    pub fn raises(self, form: ErrorForm, code: &'static str) -> Self {
        Self { error: Some((form, code)), close: Close::Clean, ..self.fails(code) }
    }

    /// The client gets an error event and a broken connection.
    pub fn raises_and_breaks(self, form: ErrorForm, code: &'static str) -> Self {
        Self { error: Some((form, code)), ..self.breaks(code) }
    }

    /// The client gets a broken connection and no error event.
    pub fn breaks(self, code: &'static str) -> Self {
        Self { close: Close::Break, ..self.fails(code) }
    }

    fn fails(self, code: &'static str) -> Self {
        Self { code: Some(code), outcome: outcome_of(code), ..self }
    }

    /// The outcome is an error that the backend reported itself.
    pub fn reports_an_error(self) -> Self {
        Self { outcome: "upstream_error", ..self }
    }

    pub fn completed_by(self, line_ends: &'static str) -> Self {
        Self { completion: line_ends, ..self }
    }

    /// The first content is delivered after this number of seconds.
    pub fn token_at(self, seconds: u64) -> Self {
        Self { first_token: Some(Duration::from_secs(seconds)), ..self }
    }

    pub fn counts(self, input: impl Into<Option<u64>>, output: impl Into<Option<u64>>) -> Self {
        Self { usage: (input.into(), output.into()), ..self }
    }

    pub fn speaks(self, dialect: &'static str) -> Self {
        Self { dialect, ..self }
    }

    /// All bytes of the backend that are relayed.
    pub fn passed(&self) -> Vec<u8> {
        let passing = self.pieces.iter().filter(|piece| piece.fate != Fate::Lost);
        passing.flat_map(|piece| piece.bytes.iter().copied()).collect()
    }

    /// How many of them are certainly relayed once the last piece is written.
    pub fn passed_before_end(&self) -> usize {
        let last = self.pieces.iter().rposition(|piece| piece.fate == Fate::Passes).map_or(0, |at| at + 1);
        let passed = self.pieces[..last].iter().filter(|piece| piece.fate != Fate::Lost);
        passed.map(|piece| piece.bytes.len()).sum()
    }
}
