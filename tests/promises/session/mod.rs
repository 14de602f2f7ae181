//! Promises of the core by itself, under virtual time: a backend, a client and a clock that are only values.

mod ends;
mod judgement;
pub mod splits;
pub mod streams;
mod timers;
mod waiting;

use std::time::{Duration, Instant};

use sidestream::outcome::{Failure, Outcome};
use sidestream::session::{Asked, Close, End, Format, Policy, Session, Setup, Unit};

/// How a session begins, apart from its policy.
#[derive(Clone, Debug)]
pub struct Beginning {
    pub format: Format,
    pub conversion: Option<Unit>,
    pub asked: Asked,
    /// How long after the request was sent the header came.
    pub header_after: Duration,
    /// How long after the request was sent the last early heartbeat was written.
    pub early_heartbeat_after: Option<Duration>,
    /// When the whole exchange must be over, from the time on when the request was sent.
    pub end: Option<Duration>,
}

impl Default for Beginning {
    fn default() -> Self {
        Self {
            format: Format::EventStream,
            conversion: None,
            asked: Asked::default(),
            header_after: Duration::ZERO,
            early_heartbeat_after: None,
            end: None,
        }
    }
}

/// A POST to this path with this body.
pub fn post(path: &str, body: &str) -> Beginning {
    Beginning { asked: Asked::of_request(path, false, Some(body.as_bytes())), ..Beginning::default() }
}

/// A session with a client that takes everything at once. Times count from the moment when the request was sent.
pub struct Driven {
    pub session: Session,
    start: Instant,
    now: Instant,
    /// When the session last asked to be woken; `None`: never.
    asked_for: Option<Instant>,
    /// What was written and when.
    pub writes: Vec<(Duration, String)>,
    /// The same as bytes: a large event can be cut anywhere.
    bytes: Vec<u8>,
    /// Those of them that are no heartbeats.
    pub payload: Vec<u8>,
    /// What filled the silences.
    pub heartbeats: Vec<String>,
    /// When the first event was delivered.
    pub first_event: Option<Duration>,
    /// When the session ended.
    pub ended: Option<Duration>,
}

impl Driven {
    pub fn new(policy: &Policy) -> Self {
        Self::beginning(policy, Beginning::default())
    }

    pub fn beginning(policy: &Policy, beginning: Beginning) -> Self {
        let start = Instant::now();
        let Beginning { format, conversion, asked, header_after, early_heartbeat_after, end } = beginning;
        let written = early_heartbeat_after.map(|after| start + after);
        let (now, end) = (start + header_after, end.map(|end| start + end));
        let setup =
            Setup { policy, format, conversion, dialect: None, asked, sent: start, written, end, now };
        Self {
            session: Session::new(setup),
            start,
            now,
            asked_for: None,
            writes: Vec::new(),
            bytes: Vec::new(),
            payload: Vec::new(),
            heartbeats: Vec::new(),
            first_event: None,
            ended: None,
        }
    }

    /// The backend sends something.
    pub fn backend(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.session.handle_bytes(bytes.as_ref(), self.now);
        self.write();
        let next = self.session.poll_timeout();
        let is_earlier = next.is_some_and(|next| self.asked_for.is_none_or(|before| next < before));
        assert!(self.session.wakes_earlier() || !is_earlier, "nobody is told that it is due earlier");
        self.asked_for = next;
        self
    }

    /// The backend's body ends as its framing says.
    pub fn ends(&mut self) -> &mut Self {
        self.session.handle_end();
        self.write()
    }

    /// The backend breaks.
    pub fn breaks(&mut self) -> &mut Self {
        self.fails(Failure::Reset)
    }

    /// The backend fails in this way.
    pub fn fails(&mut self, failure: Failure) -> &mut Self {
        self.session.handle_fault(failure.into());
        self.write()
    }

    /// The client has left, and the answer is read on: everything must be over after this time.
    pub fn client_leaves(&mut self, limit: Option<Duration>) -> &mut Self {
        self.session.discard(limit.map(|limit| self.now + limit));
        self.asked_for = self.session.poll_timeout();
        self
    }

    /// Time passes, and the session has its turn whenever it asks for it: never for nothing.
    pub fn passes(&mut self, time: Duration) -> &mut Self {
        let until = self.now + time;
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= until)
            && self.session.end().is_none()
        {
            let written = self.writes.len();
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
            self.write();
            self.session.wakes_earlier();
            self.asked_for = self.session.poll_timeout();
            let is_for_nothing = self.writes.len() == written && self.session.end().is_none();
            assert!(!is_for_nothing, "woken for nothing at {:?}, after {:?}", self.time(), self.writes);
        }
        self.now = until;
        self
    }

    /// The time.
    pub fn time(&self) -> Duration {
        self.now - self.start
    }

    /// When the session asks to be woken next.
    pub fn next_wake(&self) -> Option<Duration> {
        self.session.poll_timeout().map(|due| due - self.start)
    }

    fn write(&mut self) -> &mut Self {
        if self.session.end().is_some() {
            self.ended.get_or_insert(self.now - self.start);
        }
        while let Some(bytes) = self.session.poll_write(self.now) {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let payload = self.payload.len();
            self.bytes.extend_from_slice(bytes);
            self.payload.extend_from_slice(bytes);
            self.writes.push((self.now - self.start, text.clone()));
            let delivered = self.session.handle_written(self.now);
            if delivered.is_heartbeat {
                self.payload.truncate(payload);
                self.heartbeats.push(text);
            }
            if delivered.is_first_event {
                self.first_event = Some(self.now - self.start);
            }
        }
        self
    }

    /// All that was written.
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn end(&self) -> End {
        self.session.end().expect("an end")
    }

    /// The label of the outcome, and how the client's side ends.
    pub fn outcome(&self) -> (&'static str, Close) {
        (self.end().outcome.label(), self.end().close)
    }

    /// What went wrong.
    pub fn failure(&self) -> Option<Failure> {
        match self.end().outcome {
            Outcome::Failed(fault) => Some(fault.failure),
            _ => None,
        }
    }

    /// The time to the first token.
    pub fn first_token(&self) -> Option<Duration> {
        self.session.first_token().map(|at| at - self.start)
    }
}
