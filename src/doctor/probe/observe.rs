//! One request, and the record of its answer.

use std::future::{pending, poll_fn};
use std::time::Duration;

use http::Method;
use tokio::time::{Instant, timeout_at};

use super::point::Point;
use crate::content_coding::{ContentCoding, Decoder};
use crate::doctor::judge::{FieldLines, Millis, Read, Units, arrivals};
use crate::http1::{RequestHead, ResponseHead};
use crate::outcome::Failure;
use crate::upstream::{BodyProgress, Connection};

/// The most that is read of a body, in decoded bytes.
pub const MAX_BODY: usize = 32 << 20;

/// A request of the probe.
pub struct Ask<'a> {
    pub method: Method,
    /// Added to the query of the point's URL.
    pub query: String,
    pub fields: Vec<(&'a str, &'a str)>,
    pub body: Option<&'a [u8]>,
    /// When the probe leaves; `None`: not before the end.
    pub leave: Option<Leave>,
    /// The limit for the whole exchange.
    pub limit: Duration,
}

/// When a probe leaves: at the first of the two.
#[derive(Clone, Copy, Debug)]
pub struct Leave {
    pub after_events: usize,
    pub after: Duration,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseEnd {
    /// As its framing says.
    Complete,
    /// The connection was closed before.
    Closed,
    /// The connection, or the stream, was reset.
    Reset,
    /// Its HTTP or its content coding is not valid.
    Invalid,
    /// The probe left.
    Left,
    /// The body is larger than [`MAX_BODY`].
    TooLarge,
    /// It had not ended within the limit.
    StillRunning,
    /// There was no connection.
    NotConnected,
}

impl ResponseEnd {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::Invalid => "invalid",
            Self::Left => "left",
            Self::TooLarge => "too_large",
            Self::StillRunning => "still_running",
            Self::NotConnected => "not_connected",
        }
    }
}

/// An answer as it arrived. Times are since the request was sent.
pub struct Observation {
    pub head: Option<ResponseHead>,
    pub head_at: Option<Millis>,
    /// Decoded, if it was encoded.
    pub body: Vec<u8>,
    pub reads: Vec<Read>,
    /// Before decoding.
    pub encoded_bytes: usize,
    pub ended: ResponseEnd,
    pub ended_at: Millis,
    /// Why there is no connection.
    pub trouble: Option<String>,
}

impl Observation {
    pub fn status(&self) -> Option<u16> {
        self.head.as_ref().map(|head| head.status.as_u16())
    }

    pub fn field(&self, name: &str) -> Option<String> {
        let value = self.head.as_ref()?.fields.value(name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// All fields of the head.
    pub fn fields(&self) -> FieldLines {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields = self.head.iter().flat_map(|head| head.fields.iter());
        fields.map(|(name, value)| (text(name), text(value))).collect()
    }

    pub fn coding(&self) -> Option<String> {
        self.field("Content-Encoding").filter(|coding| !coding.eq_ignore_ascii_case("identity"))
    }
}

/// Sends a request, and records the answer.
pub async fn observe(point: &Point, ask: &Ask<'_>) -> Observation {
    observe_until(point, ask, pending::<()>()).await
}

/// The same, but leaves when `stop` is ready.
pub async fn observe_until(point: &Point, ask: &Ask<'_>, stop: impl Future) -> Observation {
    match point.open().await {
        Ok(connection) => watch(connection, point, ask, stop).await,
        Err(error) => Observation { trouble: Some(error.to_string()), ..nothing(ResponseEnd::NotConnected) },
    }
}

/// The same as [`observe`], on an open connection.
pub async fn observe_on(connection: Connection, point: &Point, ask: &Ask<'_>) -> Observation {
    watch(connection, point, ask, pending::<()>()).await
}

/// A request whose answer is not read. The probe leaves when this is dropped.
pub struct OpenRequest(Watching);

impl OpenRequest {
    /// Sends a request, and waits for the head of its answer until `end`.
    pub async fn begin(connection: Connection, point: &Point, ask: &Ask<'_>, end: Instant) -> Self {
        let mut watching = Watching::new(connection);
        // If this fails, `status` is `None`.
        let _ = timeout_at(end, watching.begin(point, ask)).await;
        Self(watching)
    }

    pub fn status(&self) -> Option<u16> {
        self.0.seen.status()
    }
}

async fn watch(connection: Connection, point: &Point, ask: &Ask<'_>, stop: impl Future) -> Observation {
    let mut watching = Watching::new(connection);
    let began = watching.began;
    let leave_at = ask.leave.map(|leave| began + leave.after);
    let end = leave_at.unwrap_or(began + ask.limit).min(began + ask.limit);
    let ended = tokio::select! {
        ended = timeout_at(end, watching.run(point, ask)) => match ended {
            Ok(ended) => ended,
            Err(_) if leave_at == Some(end) => ResponseEnd::Left,
            Err(_) => ResponseEnd::StillRunning,
        },
        _ = stop => ResponseEnd::Left,
    };
    // Dropping the connection is how the probe leaves.
    drop(watching.connection);
    Observation { ended, ended_at: millis(began), ..watching.seen }
}

fn nothing(ended: ResponseEnd) -> Observation {
    Observation {
        head: None,
        head_at: None,
        body: Vec::new(),
        reads: Vec::new(),
        encoded_bytes: 0,
        ended,
        ended_at: 0.0,
        trouble: None,
    }
}

fn millis(since: Instant) -> Millis {
    since.elapsed().as_secs_f64() * 1000.0
}

struct Watching {
    connection: Connection,
    began: Instant,
    seen: Observation,
    decoder: Option<Decoder>,
}

impl Watching {
    fn new(connection: Connection) -> Self {
        let seen = nothing(ResponseEnd::StillRunning);
        Self { connection, began: Instant::now(), seen, decoder: None }
    }

    async fn run(&mut self, point: &Point, ask: &Ask<'_>) -> ResponseEnd {
        match self.begin(point, ask).await {
            Ok(()) => self.read(ask.leave.map(|leave| leave.after_events)).await,
            Err(ended) => ended,
        }
    }

    /// Sends the request, and reads the head of its answer.
    async fn begin(&mut self, point: &Point, ask: &Ask<'_>) -> Result<(), ResponseEnd> {
        self.send(point, ask).await?;
        let head = loop {
            match self.connection.read_head().await {
                Ok(head) if head.status.is_informational() => {}
                Ok(head) => break head,
                Err(error) => return Err(ended_by(error.fault.failure)),
            }
        };
        self.seen.head_at = Some(millis(self.began));
        let coding = head.fields.value("Content-Encoding").and_then(ContentCoding::named);
        self.decoder = coding.map(Decoder::new);
        self.seen.head = Some(head);
        Ok(())
    }

    async fn send(&mut self, point: &Point, ask: &Ask<'_>) -> Result<(), ResponseEnd> {
        let mut request = RequestHead::get(&point.target(&ask.query));
        request.method = ask.method.clone();
        request.fields.append("Host", point.authority());
        for (name, value) in &ask.fields {
            request.fields.set(name, value);
        }
        if let Some(body) = ask.body {
            request.fields.set("Content-Length", body.len().to_string());
        }
        let failed = |failure| Err(ended_by(failure));
        if let Err(error) = self.connection.write_head(&request, ask.body.is_some()).await {
            return failed(error.fault.failure);
        }
        let Some(body) = ask.body else { return Ok(()) };
        if !body.is_empty()
            && let Err(fault) = self.connection.write_body(body).await
        {
            return failed(fault.failure);
        }
        self.connection.finish_body().await.or_else(|fault| failed(fault.failure))
    }

    /// Reads to the end, or until this many events have arrived.
    async fn read(&mut self, enough: Option<usize>) -> ResponseEnd {
        loop {
            let mut piece = Vec::new();
            let progress =
                poll_fn(|cx| self.connection.poll_read_body(cx, &mut |bytes| piece.extend_from_slice(bytes)))
                    .await;
            let is_readable = self.take(&piece);
            match progress {
                _ if !is_readable => return ResponseEnd::Invalid,
                _ if self.seen.body.len() > MAX_BODY => return ResponseEnd::TooLarge,
                Ok(BodyProgress::End) => return ResponseEnd::Complete,
                Ok(BodyProgress::More | BodyProgress::Waits) => {}
                Err(fault) => return ended_by(fault.failure),
            }
            if enough.is_some_and(|enough| self.events() >= enough) {
                return ResponseEnd::Left;
            }
        }
    }

    fn events(&self) -> usize {
        arrivals(&self.seen.body, &self.seen.reads, Units::Events).len()
    }

    /// Records a piece of the body. False if it cannot be decoded.
    fn take(&mut self, piece: &[u8]) -> bool {
        let body = &mut self.seen.body;
        let before = body.len();
        self.seen.encoded_bytes += piece.len();
        let mut is_readable = true;
        match &mut self.decoder {
            None => body.extend_from_slice(piece),
            Some(decoder) => {
                decoder.push(piece);
                let mut room = [0; 16 * 1024];
                while decoder.has_more() && body.len() <= MAX_BODY {
                    match decoder.decode(&mut room) {
                        Ok(length) => body.extend_from_slice(&room[..length]),
                        Err(_) => {
                            is_readable = false;
                            break;
                        }
                    }
                }
            }
        }
        if body.len() > before {
            self.seen.reads.push(Read { at: millis(self.began), end: body.len() });
        }
        is_readable
    }
}

fn ended_by(failure: Failure) -> ResponseEnd {
    match failure {
        Failure::Closed => ResponseEnd::Closed,
        Failure::Reset => ResponseEnd::Reset,
        _ => ResponseEnd::Invalid,
    }
}
