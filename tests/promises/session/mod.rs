//! Tests of a session without I/O, under virtual time: the backend, the client and the clock are simulated.

mod ends;
mod judgement;
pub mod splits;
pub mod streams;
mod timers;
mod waiting;

use std::time::{Duration, Instant};

use sidestream::outcome::{Failure, Outcome};
use sidestream::session::{Asked, Close, End, Format, Policy, Session, Setup, Unit};

/// The parameters of a session, except its policy.
#[derive(Clone, Debug)]
pub struct Beginning {
    pub format: Format,
    pub conversion: Option<Unit>,
    pub asked: Asked,
    /// From the request being sent to the response head.
    pub header_after: Duration,
    /// From the request being sent to the last early heartbeat.
    pub early_heartbeat_after: Option<Duration>,
    /// From the request being sent to the deadline of the whole exchange.
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

/// The beginning of the response to a POST.
pub fn post(path: &str, body: &str) -> Beginning {
    Beginning { asked: Asked::of_request(path, false, Some(body.as_bytes())), ..Beginning::default() }
}

/// A session whose client reads everything at once. Times count from the request being sent.
pub struct Driven {
    pub session: Session,
    start: Instant,
    now: Instant,
    /// The deadline that the session last returned. `None`: it had none.
    asked_for: Option<Instant>,
    /// All writes, with their times.
    pub writes: Vec<(Duration, String)>,
    /// All bytes written. A large event may be split within a character.
    bytes: Vec<u8>,
    /// The same without heartbeats.
    pub payload: Vec<u8>,
    /// All heartbeats.
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

    /// The backend sends bytes. Checks that [`Session::wakes_earlier`] announces any earlier deadline.
    pub fn backend(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.session.handle_bytes(bytes.as_ref(), self.now);
        self.write();
        let next = self.session.poll_timeout();
        let is_earlier = next.is_some_and(|next| self.asked_for.is_none_or(|before| next < before));
        assert!(self.session.wakes_earlier() || !is_earlier, "an earlier deadline was not announced");
        self.asked_for = next;
        self
    }

    /// The body ends cleanly.
    pub fn ends(&mut self) -> &mut Self {
        self.session.handle_end();
        self.write()
    }

    /// The backend resets its connection.
    pub fn breaks(&mut self) -> &mut Self {
        self.fails(Failure::Reset)
    }

    /// The body ends with this failure.
    pub fn fails(&mut self, failure: Failure) -> &mut Self {
        self.session.handle_fault(failure.into());
        self.write()
    }

    /// The client disconnects, and the response is drained for at most this time.
    pub fn client_leaves(&mut self, limit: Option<Duration>) -> &mut Self {
        self.session.discard(limit.map(|limit| self.now + limit));
        self.asked_for = self.session.poll_timeout();
        self
    }

    /// Lets time pass, and calls the session at each deadline. Checks that each call writes something or ends the session.
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
            assert!(!is_for_nothing, "a useless wake-up at {:?}, after {:?}", self.time(), self.writes);
        }
        self.now = until;
        self
    }

    /// The current time.
    pub fn time(&self) -> Duration {
        self.now - self.start
    }

    /// The next deadline.
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

    /// Everything that was written.
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn end(&self) -> End {
        self.session.end().expect("an end")
    }

    /// The label of the outcome, and how the response to the client ends.
    pub fn outcome(&self) -> (&'static str, Close) {
        (self.end().outcome.label(), self.end().close)
    }

    /// The failure, if the session failed.
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
