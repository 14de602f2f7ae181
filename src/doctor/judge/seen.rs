//! What a probe has seen at a point of the chain.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::arrivals::Millis;
use super::flow::Pacing;

/// Names and values of fields, in the order they came.
pub type FieldLines = Vec<(String, String)>;

/// A point, and what was seen there.
#[derive(Clone, Debug)]
pub struct PointSeen {
    pub name: String,
    pub url: String,
    /// What the origin saw of a request, or why it saw none.
    pub echo: Result<Echo, String>,
    /// By its id, what each test has shown, or why it could not be made.
    pub tests: BTreeMap<&'static str, Result<Figures, String>>,
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
    /// What the probe sent of these.
    #[serde(skip)]
    pub sent: FieldLines,
}

/// How a stream came.
#[derive(Clone, Debug, Serialize)]
pub struct StreamSeen {
    #[serde(flatten)]
    pub flow: Pacing,
    pub version: String,
    #[serde(skip)]
    pub fields: FieldLines,
    pub content_coding: Option<String>,
    /// Whether only the end of the connection ends the response, or the connection ends with it.
    pub is_last: bool,
    /// It was over within the time.
    pub has_ended: bool,
    /// From the head to the first event: as written, and as it came.
    pub head_gap_sent: Millis,
    pub head_gap: Millis,
}

impl StreamSeen {
    /// The head came only with the first event, though it was sent long before.
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

/// Whether bytes came as they were sent.
#[derive(Clone, Debug, Serialize)]
pub struct SampleSeen {
    pub sent_bytes: usize,
    pub bytes: usize,
    /// Where the first difference is, with what stood there. Comments do not count: proxies add some as heartbeats.
    pub first_difference: Option<Difference>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    pub offset: usize,
    pub sent: String,
    pub arrived: String,
}

/// How a stream that broke off ended here.
#[derive(Clone, Debug, Serialize)]
pub struct EndingSeen {
    pub ended: &'static str,
    /// It ended like a stream that is complete.
    pub is_complete: bool,
    /// It was over within the time.
    pub has_ended: bool,
    /// An error event tells of it.
    pub has_error_event: bool,
}

impl EndingSeen {
    /// No client can tell that something is missing, or only by waiting for ever.
    pub fn is_hidden(&self) -> bool {
        !self.has_error_event && (self.is_complete || !self.has_ended)
    }
}

/// What became of a stream whose client left.
#[derive(Clone, Debug, Serialize)]
pub struct LeavingSeen {
    /// How long after the client had left its origin knew; `None`: not while it was asked about.
    pub known_after: Option<Millis>,
    /// For how long the origin was asked.
    pub waited: Millis,
}

/// How many streams ran at once.
#[derive(Clone, Debug, Serialize)]
pub struct AtOnceSeen {
    pub version: &'static str,
    pub wanted: usize,
    pub ran: usize,
    /// What was answered in place of another one.
    pub refused: Option<u16>,
}

/// The answer to the OPTIONS of a browser.
#[derive(Clone, Debug, Serialize)]
pub struct PreflightSeen {
    pub status: u16,
    /// What a browser would miss in it; `None`: it may send its request.
    pub missing: Option<String>,
}

/// When streams that were silent, or only had heartbeats, were cut; `None`: not within the time.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SilencesSeen {
    /// How long they were watched.
    pub watched: Millis,
    /// Silent before the head of its response.
    pub head_cut: Option<Millis>,
    /// Silent after its first event, from there.
    pub stream_cut: Option<Millis>,
    /// With heartbeats once a second, if they came.
    pub heartbeats_cut: Option<Millis>,
    /// How many of them came.
    pub beats: usize,
    /// The status that was answered in place of the head.
    pub head_status: Option<u16>,
}
