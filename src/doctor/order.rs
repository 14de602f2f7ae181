//! What is asked of a probe origin, as it stands in the query of a request, beside the token.

use std::fmt;
use std::time::Duration;

use super::query::Query;
use super::sample;

/// Events of a stream: as many as have a number of four digits.
pub const MAX_EVENTS: u32 = 10_000;
/// Bytes of one event: room for its number, and as much as a large one has.
pub const MIN_SIZE: u32 = 12;
pub const MAX_SIZE: u32 = 65_536;
/// Writes of one event.
pub const MAX_PIECES: u32 = 64;
/// From one write of an event to the next.
pub const TEAR: Duration = Duration::from_millis(10);
/// What a stream may cost those whom it passes: its bytes, and how long it takes.
pub const MAX_BYTES: u64 = 16 * 1024 * 1024;
pub const MAX_DURATION: Duration = Duration::from_secs(60 * 60);
/// Characters of the name of a run.
const MAX_NAME: usize = 64;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Its own head, as it arrived.
    Echo,
    Stream(StreamOrder),
    /// What became of the stream with this name.
    Account(RunName),
}

/// The name under which the account of a stream is kept: letters, digits and `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunName(String);

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamOrder {
    pub run: RunName,
    pub media_type: MediaType,
    pub events: u32,
    /// Bytes of each.
    pub size: u32,
    /// From one event to the next.
    pub every: Duration,
    /// Silence before the head of the response.
    pub head_after: Duration,
    /// Silence between the head and the first event.
    pub first_after: Duration,
    /// Silence after the last event.
    pub last_for: Duration,
    /// Writes for each event, [`TEAR`] apart.
    pub pieces: u32,
    pub shape: Shape,
    pub end: StreamEnd,
    /// The response carries `X-Accel-Buffering: no`.
    pub forbids_buffering: bool,
    /// The response's `Cache-Control` says `no-transform`.
    pub forbids_transforming: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    EventStream,
    Plain,
    Ndjson,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Numbered ones.
    Events,
    /// Comments, but for the first and the last event.
    Comments,
    /// The fixed sample; numbers, sizes and pieces mean nothing then.
    Sample,
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    Clean,
    /// The connection is reset.
    Reset,
    /// Half an event, and the connection is closed before the body's end.
    Truncated,
}

/// Why something is no order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOrder {
    #[error("`{name}` is missing: expected {expected}")]
    Missing { name: &'static str, expected: &'static str },
    #[error("`{name}={value}`: expected {expected}")]
    Value { name: String, value: String, expected: String },
    #[error("`shape={shape}` needs `type=event-stream`")]
    ShapeNeedsEventStream { shape: &'static str },
    #[error("this stream would have {bytes} bytes, and {MAX_BYTES} is the most: lower `events` or `size`")]
    TooLarge { bytes: u64 },
    #[error(
        "this stream would take {} s, and {} s is the most: lower `events`, `every` or a silence",
        duration.as_secs(), MAX_DURATION.as_secs()
    )]
    TooLong { duration: Duration },
}

impl BadOrder {
    pub fn value(name: &str, value: String, expected: String) -> Self {
        Self::Value { name: name.to_owned(), value, expected }
    }
}

const RUN: &str = "1 to 64 of the characters A-Z a-z 0-9 -";
const MEDIA_TYPES: [(&str, MediaType); 3] =
    [("event-stream", MediaType::EventStream), ("plain", MediaType::Plain), ("ndjson", MediaType::Ndjson)];
const SHAPES: [(&str, Shape); 3] =
    [("events", Shape::Events), ("comments", Shape::Comments), ("sample", Shape::Sample)];
const ENDS: [(&str, StreamEnd); 3] =
    [("clean", StreamEnd::Clean), ("reset", StreamEnd::Reset), ("truncated", StreamEnd::Truncated)];
/// Of what a response may forbid.
const NO: [(&str, bool); 1] = [("no", true)];

/// The word that means this.
fn word_for<T: Copy + PartialEq>(words: &[(&'static str, T)], meaning: T) -> &'static str {
    words.iter().find(|(_, other)| *other == meaning).map_or("", |(word, _)| word)
}

impl Order {
    pub fn parse(mut query: Query) -> Result<Self, BadOrder> {
        const KINDS: &str = "`echo`, `stream` or `account`";
        let kind = query.take("do").ok_or(BadOrder::Missing { name: "do", expected: KINDS })?;
        match kind.as_str() {
            "echo" => Ok(Self::Echo),
            "stream" => StreamOrder::parse(&mut query).map(Self::Stream),
            "account" => run(&mut query).map(Self::Account),
            _ => Err(BadOrder::value("do", kind, KINDS.to_owned())),
        }
    }
}

fn run(query: &mut Query) -> Result<RunName, BadOrder> {
    let name = query.take("run").ok_or(BadOrder::Missing { name: "run", expected: RUN })?;
    RunName::new(&name).ok_or_else(|| BadOrder::value("run", name, RUN.to_owned()))
}

impl RunName {
    pub fn new(name: &str) -> Option<Self> {
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (is_plain && (1..=MAX_NAME).contains(&name.len())).then(|| Self(name.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl MediaType {
    /// What the response says it is.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::EventStream => "text/event-stream; charset=utf-8",
            Self::Plain => "text/plain; charset=utf-8",
            Self::Ndjson => "application/x-ndjson",
        }
    }
}

impl StreamOrder {
    /// A stream as it is without further words.
    pub fn new(run: RunName) -> Self {
        Self {
            run,
            media_type: MediaType::EventStream,
            events: 40,
            size: 200,
            every: Duration::from_millis(50),
            head_after: Duration::ZERO,
            first_after: Duration::from_millis(300),
            last_for: Duration::ZERO,
            pieces: 1,
            shape: Shape::Events,
            end: StreamEnd::Clean,
            forbids_buffering: false,
            forbids_transforming: false,
        }
    }

    fn parse(query: &mut Query) -> Result<Self, BadOrder> {
        let default = Self::new(run(query)?);
        let order = Self {
            media_type: query.word("type", &MEDIA_TYPES, default.media_type)?,
            events: query.number("events", 1..=MAX_EVENTS, default.events)?,
            size: query.number("size", MIN_SIZE..=MAX_SIZE, default.size)?,
            every: milliseconds(query, "every", default.every)?,
            head_after: milliseconds(query, "head_after", default.head_after)?,
            first_after: milliseconds(query, "first_after", default.first_after)?,
            last_for: milliseconds(query, "last_for", default.last_for)?,
            pieces: query.number("pieces", 1..=MAX_PIECES, default.pieces)?,
            shape: query.word("shape", &SHAPES, default.shape)?,
            end: query.word("end", &ENDS, default.end)?,
            forbids_buffering: query.word("accel", &NO, false)?,
            forbids_transforming: query.word("transform", &NO, false)?,
            run: default.run,
        };
        order.check()?;
        Ok(order)
    }

    /// Whether it makes sense, and does not cost too much.
    fn check(&self) -> Result<(), BadOrder> {
        if self.shape != Shape::Events && self.media_type != MediaType::EventStream {
            return Err(BadOrder::ShapeNeedsEventStream { shape: word_for(&SHAPES, self.shape) });
        }
        let bytes = self.bytes();
        if bytes > MAX_BYTES {
            return Err(BadOrder::TooLarge { bytes });
        }
        let duration = self.duration();
        if duration > MAX_DURATION {
            return Err(BadOrder::TooLong { duration });
        }
        Ok(())
    }

    /// Bytes of its body, with those of an event that is not sent whole.
    pub fn bytes(&self) -> u64 {
        let whole = match self.shape {
            Shape::Sample => sample::sample().iter().flatten().map(Vec::len).sum::<usize>() as u64,
            Shape::Events | Shape::Comments => u64::from(self.events) * u64::from(self.size),
        };
        let half = if self.end == StreamEnd::Truncated { u64::from(self.size) / 2 } else { 0 };
        whole + half
    }

    /// How long it takes, if its reader does not hold it up.
    pub fn duration(&self) -> Duration {
        let pieces = if self.shape == Shape::Sample { sample::SAMPLE_PIECES } else { self.pieces };
        let each = self.every.max(TEAR * (pieces - 1));
        self.head_after + self.first_after + each * sample::count(self) + self.last_for
    }
}

fn milliseconds(query: &mut Query, name: &str, default: Duration) -> Result<Duration, BadOrder> {
    let [default, max] = [default, MAX_DURATION].map(|d| u32::try_from(d.as_millis()).unwrap_or(u32::MAX));
    Ok(Duration::from_millis(query.number(name, 0..=max, default)?.into()))
}

/// As it stands in a query.
impl fmt::Display for StreamOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "do=stream&run={}", self.run.0)?;
        write!(f, "&type={}", word_for(&MEDIA_TYPES, self.media_type))?;
        write!(f, "&events={}&size={}&pieces={}", self.events, self.size, self.pieces)?;
        for (name, duration) in [
            ("every", self.every),
            ("head_after", self.head_after),
            ("first_after", self.first_after),
            ("last_for", self.last_for),
        ] {
            write!(f, "&{name}={}", duration.as_millis())?;
        }
        write!(f, "&shape={}&end={}", word_for(&SHAPES, self.shape), word_for(&ENDS, self.end))?;
        if self.forbids_buffering {
            f.write_str("&accel=no")?;
        }
        if self.forbids_transforming {
            f.write_str("&transform=no")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Order, BadOrder> {
        Order::parse(Query::of(format!("/?do=own&token=x&{query}").as_bytes(), "token="))
    }

    #[test]
    fn an_order_that_is_written_is_read_as_itself() {
        let default = StreamOrder::new(RunName::new("a-1").expect("a name"));
        let other = StreamOrder {
            media_type: MediaType::EventStream,
            events: 3,
            size: 12,
            every: Duration::ZERO,
            head_after: Duration::from_millis(1),
            first_after: Duration::from_millis(2),
            last_for: Duration::from_millis(3),
            pieces: 4,
            shape: Shape::Comments,
            end: StreamEnd::Truncated,
            forbids_buffering: true,
            forbids_transforming: true,
            ..default.clone()
        };
        for order in [default.clone(), other] {
            assert_eq!(parse(&order.to_string()), Ok(Order::Stream(order)));
        }
        assert_eq!(parse("do=stream&run=a-1"), Ok(Order::Stream(default)));
    }

    #[test]
    fn what_is_no_order_is_refused_with_what_is_expected() {
        let long = "a".repeat(65);
        for (query, message) in [
            ("", "`do` is missing: expected `echo`, `stream` or `account`"),
            ("do=sing", "`do=sing`: expected `echo`, `stream` or `account`"),
            ("do=account", "`run` is missing: expected 1 to 64 of the characters A-Z a-z 0-9 -"),
            ("do=account&run=", "`run=`: expected 1 to 64 of the characters A-Z a-z 0-9 -"),
            ("do=account&run=a_b", "`run=a_b`: expected 1 to 64 of the characters A-Z a-z 0-9 -"),
            (&format!("do=account&run={long}"), "expected 1 to 64 of the characters"),
            ("do=stream&run=a&events=0", "`events=0`: expected a number from 1 to 10000"),
            ("do=stream&run=a&events=10001", "`events=10001`: expected a number from 1 to 10000"),
            ("do=stream&run=a&size=11", "`size=11`: expected a number from 12 to 65536"),
            ("do=stream&run=a&size=65537", "`size=65537`: expected a number from 12 to 65536"),
            ("do=stream&run=a&pieces=65", "`pieces=65`: expected a number from 1 to 64"),
            ("do=stream&run=a&every=-1", "`every=-1`: expected a number from 0 to 3600000"),
            ("do=stream&run=a&end=well", "`end=well`: expected `clean` or `reset` or `truncated`"),
            ("do=stream&run=a&accel=yes", "`accel=yes`: expected `no`"),
            ("do=stream&run=a&type=plain&shape=sample", "`shape=sample` needs `type=event-stream`"),
            (
                "do=stream&run=a&events=257&size=65536",
                "this stream would have 16842752 bytes, and 16777216 is the most: lower `events` or `size`",
            ),
            ("do=stream&run=a&every=100000", "this stream would take 4000 s, and 3600 s is the most"),
            ("do=stream&run=a&events=10000&pieces=64", "this stream would take 6300 s"),
        ] {
            let refused = parse(query).expect_err("no order").to_string();
            assert!(refused.contains(message), "{query}: {refused}");
        }
    }
}
