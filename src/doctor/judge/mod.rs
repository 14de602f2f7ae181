//! What the figures of a probe mean. Sans-IO: no sockets, no clock.

mod answer;
#[cfg(test)]
mod answer_tests;
mod arrivals;
mod delays;
mod findings;
mod flaw;
mod flow;
mod rules;
mod seen;
mod silences;
#[cfg(test)]
mod tests;
mod verdict;
mod words;

pub use answer::{AnswerSeen, CANNOT_TELL, RealAnswer, look_at};
pub use arrivals::{Arrival, Millis, Read, Units, arrivals};
pub use findings::{ANY, Finding, FindingRemedy, SeenHop, answer_findings, findings};
pub use flow::{Pacing, Passed, flow, median, percentile};
pub use seen::{
    AtOnceSeen, Difference, Echo, EndingSeen, FieldLines, Figures, LeavingSeen, NotMade, PointSeen,
    PreflightSeen, SampleSeen, SilencesSeen, StreamSeen,
};
pub use verdict::{AnswerVerdict, WatchEnd};
pub use words::{duration, number};
