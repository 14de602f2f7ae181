//! What a real answer is worth.

use serde::Serialize;

use crate::outcome::Outcome;

/// How the watch of an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchEnd {
    /// The answer ended as its framing says.
    Whole,
    /// It ended otherwise.
    Broken,
    /// It was still running when it was no longer watched.
    Running,
    /// It is larger than what is kept of one.
    TooLarge,
}

/// In the output of `--json`. Stable: users script against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerVerdict {
    /// A stream with events that ended as its dialect ends.
    Complete,
    /// Its status is none of success.
    Refused,
    /// Of another type than streams have.
    NotAStream,
    /// A stream that was empty, or had comments alone.
    NoEvents,
    /// It tells of an error by itself.
    ReportedError,
    /// It stops short, and ended like a complete one.
    Truncated,
    Broken,
    StillRunning,
    TooLarge,
}

impl AnswerVerdict {
    /// `outcome`: what a proxy would say of it; `has_content`: there is something other than comments.
    pub fn of(
        status: u16,
        end: WatchEnd,
        is_stream: bool,
        has_content: bool,
        outcome: Option<&Outcome>,
    ) -> Self {
        match (end, outcome) {
            _ if !(200..300).contains(&status) => Self::Refused,
            _ if !is_stream => Self::NotAStream,
            (_, Some(Outcome::ReportedError)) => Self::ReportedError,
            (WatchEnd::Running, _) => Self::StillRunning,
            (WatchEnd::TooLarge, _) => Self::TooLarge,
            // A break after the end of the answer is none.
            (WatchEnd::Broken, Some(Outcome::Completed)) => Self::Complete,
            (WatchEnd::Broken, _) => Self::Broken,
            (WatchEnd::Whole, _) if !has_content => Self::NoEvents,
            (WatchEnd::Whole, Some(Outcome::Completed) | None) => Self::Complete,
            (WatchEnd::Whole, Some(_)) => Self::Truncated,
        }
    }

    /// Whether a good answer came as a stream.
    pub fn is_good(self) -> bool {
        self == Self::Complete
    }
}
