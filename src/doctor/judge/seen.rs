//! What a probe has seen at a point of the chain.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::arrivals::Millis;
use super::flow::Pacing;

/// Names and values of fields, in the order in which they arrived.
pub type FieldLines = Vec<(String, String)>;

/// A point, and what was seen there.
#[derive(Clone, Debug)]
pub struct PointSeen {
    pub name: String,
    pub url: String,
    /// A request as the origin saw it, or why none arrived.
    pub echo: Result<Echo, String>,
    /// The figures of each test by its id, or why it could not be made.
    pub tests: BTreeMap<&'static str, Result<Figures, NotMade>>,
}

/// Why a test could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotMade {
    pub why: String,
    /// The status of the answer that came in place of the origin's.
    pub status: Option<u16>,
}

impl From<String> for NotMade {
    fn from(why: String) -> Self {
        Self { why, status: None }
    }
}

impl From<&str> for NotMade {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}

impl fmt::Display for NotMade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// What a test has shown.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Figures {
    Stream(StreamSeen),
    Heartbeats(Pacing),
    Sample(SampleSeen),
    Ending(EndingSeen),
    Leaving(LeavingSeen),
    AtOnce(AtOnceSeen),
    Preflight(PreflightSeen),
    Silences(SilencesSeen),
}

macro_rules! shown {
    ($($name:ident: $kind:ident($seen:ty);)+) => {
        impl PointSeen {
            $(
                /// What this test has shown, if it was made.
                pub fn $name(&self, id: &str) -> Option<&$seen> {
                    match self.tests.get(id)? {
                        Ok(Figures::$kind(seen)) => Some(seen),
                        _ => None,
                    }
                }
            )+
        }
    };
}

shown! {
    stream: Stream(StreamSeen);
    heartbeats: Heartbeats(Pacing);
    sample: Sample(SampleSeen);
    ending: Ending(EndingSeen);
    leaving: Leaving(LeavingSeen);
    at_once: AtOnce(AtOnceSeen);
    preflight: Preflight(PreflightSeen);
    silences: Silences(SilencesSeen);
}

impl PointSeen {
    /// The fields of streamed responses.
    pub fn response_fields(&self) -> &[(String, String)] {
        let shown = self.tests.values().flatten();
        let mut streams = shown.filter_map(|shown| match shown {
            Figures::Stream(stream) => Some(&stream.fields),
            _ => None,
        });
        self.stream("stream_200b").map(|stream| &stream.fields).or_else(|| streams.next()).map_or(&[], |f| f)
    }

    /// Whether the limit that `at_once` met explains this failure: the hop answered both with the same status.
    pub fn is_by_stream_limit(&self, failure: &NotMade) -> bool {
        let limit = self.at_once("at_once").filter(|streams| !streams.is_enough());
        failure.status.is_some() && limit.is_some_and(|streams| streams.refused == failure.status)
    }

    /// The fields of requests, as the origin saw them.
    pub fn request_fields(&self) -> &[(String, String)] {
        self.echo.as_ref().map_or(&[], |echo| &echo.fields)
    }
}

/// A request as its origin saw it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Echo {
    pub version: String,
    pub fields: FieldLines,
    /// The fields that the probe sent.
    #[serde(skip)]
    pub sent: FieldLines,
}

/// How a stream arrived.
#[derive(Clone, Debug, Serialize)]
pub struct StreamSeen {
    #[serde(flatten)]
    pub flow: Pacing,
    pub version: String,
    #[serde(skip)]
    pub fields: FieldLines,
    pub content_coding: Option<String>,
    /// Whether the connection closes with the response.
    pub is_last: bool,
    /// It ended within the limit.
    pub has_ended: bool,
    /// From the head to the first event: as sent, and as it arrived.
    pub head_gap_sent: Millis,
    pub head_gap: Millis,
}

impl StreamSeen {
    /// The head arrived only with the first event, although it was sent long before.
    pub fn has_late_head(&self) -> bool {
        self.flow.is_prompt() && self.head_gap < self.head_gap_sent / 3.0
    }

    pub fn is_flawless(&self) -> bool {
        self.flow.is_prompt() && !self.has_late_head()
    }

    pub fn is_better_than(&self, before: &Self) -> bool {
        self.is_flawless() || (!before.flow.is_prompt() && self.flow.delay_max < before.flow.delay_max)
    }
}

/// Whether bytes arrived as they were sent.
#[derive(Clone, Debug, Serialize)]
pub struct SampleSeen {
    pub sent_bytes: usize,
    pub bytes: usize,
    /// The first difference. Comments do not count: proxies add some as heartbeats.
    pub first_difference: Option<Difference>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    pub offset: usize,
    pub sent: String,
    pub arrived: String,
}

/// How a stream that broke at the origin ended here.
#[derive(Clone, Debug, Serialize)]
pub struct EndingSeen {
    pub ended: &'static str,
    /// It ended like a complete stream.
    pub is_complete: bool,
    /// It ended within the limit.
    pub has_ended: bool,
    /// An error event or an error status makes the break visible.
    pub has_error_event: bool,
}

impl EndingSeen {
    /// No client can detect the break, or only by a timeout.
    pub fn is_hidden(&self) -> bool {
        !self.has_error_event && (self.is_complete || !self.has_ended)
    }
}

/// How a stream ended whose client left.
#[derive(Clone, Debug, Serialize)]
pub struct LeavingSeen {
    /// How long after the client left the origin noticed; `None`: not within `waited`.
    pub known_after: Option<Millis>,
    /// For how long the origin was asked.
    pub waited: Millis,
}

/// Streams that a server should allow at once on one HTTP/2 connection, at the least (RFC 9113, 6.5.2).
const RECOMMENDED: usize = 100;

/// How many streams ran at once.
#[derive(Clone, Debug, Serialize)]
pub struct AtOnceSeen {
    pub version: &'static str,
    pub wanted: usize,
    /// Streams that could be opened. Fewer than wanted where the SETTINGS of an HTTP/2 connection allow no more, or where another
    /// HTTP/1.1 connection was refused.
    pub opened: usize,
    /// Streams that the origin served at the same time.
    pub ran: usize,
    /// The status of the first answer that was not a stream.
    pub refused: Option<u16>,
}

impl AtOnceSeen {
    /// A limit of 100 streams for each HTTP/2 connection is normal: clients open another connection.
    pub fn is_enough(&self) -> bool {
        self.ran >= self.wanted.min(RECOMMENDED)
    }

    /// Whether the connection itself takes no more streams than those that ran.
    pub fn is_limited_by_settings(&self) -> bool {
        self.version == "HTTP/2" && (1..self.wanted).contains(&self.opened) && self.ran == self.opened
    }
}

/// The answer to the OPTIONS of a browser.
#[derive(Clone, Debug, Serialize)]
pub struct PreflightSeen {
    pub status: u16,
    /// The part that a browser would miss; `None`: it may send its request.
    pub missing: Option<String>,
}

/// When streams were cut that were silent or had only heartbeats; `None`: not within `watched`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SilencesSeen {
    /// How long they were watched.
    pub watched: Millis,
    /// Silent before the head of its response.
    pub head_cut: Option<Millis>,
    /// Silent after its first event, from there.
    pub stream_cut: Option<Millis>,
    /// With a heartbeat every second, if those arrived.
    pub heartbeats_cut: Option<Millis>,
    /// How many of them arrived.
    pub beats: usize,
    /// The status of an answer that came instead.
    pub head_status: Option<u16>,
}
