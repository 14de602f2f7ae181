//! Promises of the core by itself, under virtual time: a backend, a client and a clock that are only values.

pub mod splits;

use std::time::{Duration, Instant};

use sidestream::outcome::{Failure, Outcome};
use sidestream::session::{Asked, Close, End, Format, Policy, Session, Setup, Unit};

/// How a session begins, apart from its policy.
#[derive(Clone, Debug)]
pub struct Beginning {
    pub format: Format,
    pub conversion: Option<Unit>,
    pub asked: Asked,
    /// When the whole exchange must be over, from its beginning on.
    pub end: Option<Duration>,
}

impl Default for Beginning {
    fn default() -> Self {
        Self { format: Format::EventStream, conversion: None, asked: Asked::default(), end: None }
    }
}

/// A POST to this path with this body.
pub fn post(path: &str, body: &str) -> Beginning {
    Beginning { asked: Asked::of_request(path, false, Some(body.as_bytes())), ..Beginning::default() }
}

/// A session with a client that takes everything at once.
pub struct Driven<'a> {
    pub session: Session<'a>,
    start: Instant,
    now: Instant,
    /// What was written and when.
    pub writes: Vec<(Duration, String)>,
    /// The same as bytes: a large event can be cut anywhere.
    bytes: Vec<u8>,
    /// When the first event was delivered.
    pub first_event: Option<Duration>,
}

impl<'a> Driven<'a> {
    pub fn new(policy: &'a Policy) -> Self {
        Self::beginning(policy, Beginning::default())
    }

    pub fn beginning(policy: &'a Policy, beginning: Beginning) -> Self {
        let now = Instant::now();
        let Beginning { format, conversion, asked, end } = beginning;
        let end = end.map(|end| now + end);
        let setup = Setup { policy, format, conversion, dialect: None, asked, sent: now, end, now };
        Self {
            session: Session::new(setup),
            start: now,
            now,
            writes: Vec::new(),
            bytes: Vec::new(),
            first_event: None,
        }
    }

    /// The backend sends something.
    pub fn backend(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.session.handle_bytes(bytes.as_ref(), self.now);
        self.write()
    }

    /// The backend's body ends as its framing says.
    pub fn ends(&mut self) -> &mut Self {
        self.session.handle_end();
        self.write()
    }

    /// The backend breaks.
    pub fn breaks(&mut self) -> &mut Self {
        self.session.handle_fault(Failure::Reset.into());
        self.write()
    }

    /// Time passes, and the session has its turn whenever it asks for it.
    pub fn passes(&mut self, time: Duration) -> &mut Self {
        let until = self.now + time;
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= until)
            && self.session.end().is_none()
        {
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
            self.write();
        }
        self.now = until;
        self
    }

    fn write(&mut self) -> &mut Self {
        while let Some(bytes) = self.session.poll_write(self.now) {
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.bytes.extend_from_slice(bytes);
            self.writes.push((self.now - self.start, text));
            if self.session.handle_written(self.now).is_first_event {
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
