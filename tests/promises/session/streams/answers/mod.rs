//! Whole answers in each dialect, as the documentation of its API shows them or as its servers were seen to write them.

mod agents;
mod chat;
mod media;
mod servers;
mod vendors;

use super::error_form::ErrorForm;
use super::row::{Head, Request};

/// A whole answer, in events.
pub struct Answer {
    pub name: &'static str,
    pub dialect: &'static str,
    pub request: Request,
    pub head: Head,
    /// What leaves it incomplete.
    pub begun: Vec<String>,
    /// What makes it complete; its first event alone does not break in two halves that are events.
    pub end: Vec<String>,
    /// The number of the first event with content, from 0 on.
    pub token: u64,
    /// Tokens of input and output that the beginning counts.
    pub usage_begun: Usage,
    pub usage: Usage,
    /// Nothing comes after its end, in any client's eyes.
    pub ends_for_good: bool,
    /// Without its end it is truncated.
    pub requires_end: bool,
    /// The data of its events says what they are, so that their names may be missing.
    pub types_are_in_data: bool,
    /// What its clients raise on, and whether the connection is broken after that: because the backend's broke, or without that.
    pub error: ErrorForm,
    pub breaks_when_broken: bool,
    pub breaks_when_truncated: bool,
}

/// Tokens of the input and of the output.
pub type Usage = (Option<u64>, Option<u64>);

impl Answer {
    /// An event stream whose clients raise on the superset.
    fn new(name: &'static str, dialect: &'static str, path: &'static str) -> Self {
        Self {
            name,
            dialect,
            request: Request::post(path, r#"{"model":"m","stream":true}"#),
            head: Head::events(),
            begun: Vec::new(),
            end: Vec::new(),
            token: 0,
            usage_begun: (None, None),
            usage: (None, None),
            ends_for_good: true,
            requires_end: true,
            types_are_in_data: false,
            error: ErrorForm::Superset,
            breaks_when_broken: false,
            breaks_when_truncated: false,
        }
    }

    /// Its events, the last so many of which make it complete.
    fn of(mut self, events: impl IntoIterator<Item = String>, end: usize) -> Self {
        self.begun = events.into_iter().collect();
        self.end = self.begun.split_off(self.begun.len() - end);
        self
    }

    fn token(self, token: u64) -> Self {
        Self { token, ..self }
    }

    fn counts(self, input: u64, output: u64) -> Self {
        Self { usage: (Some(input), Some(output)), ..self }
    }

    fn counts_from_the_beginning(self, input: u64, output: u64) -> Self {
        Self { usage_begun: (Some(input), Some(output)), ..self }
    }

    fn types_are_in_data(self) -> Self {
        Self { types_are_in_data: true, ..self }
    }

    /// More may follow its end, such as usage.
    fn may_go_on(self) -> Self {
        Self { ends_for_good: false, ..self }
    }

    fn may_end_anywhere(self) -> Self {
        Self { requires_end: false, ends_for_good: false, ..self }
    }

    fn raises(self, error: ErrorForm) -> Self {
        Self { error, ..self }
    }

    fn and_breaks(self) -> Self {
        Self { breaks_when_broken: true, breaks_when_truncated: true, ..self }
    }

    /// All its events.
    pub fn events(&self) -> impl Iterator<Item = &str> {
        self.begun.iter().chain(&self.end).map(String::as_str)
    }
}

/// One or more of each dialect.
pub fn answers() -> Vec<Answer> {
    let answers =
        [chat::answers(), vendors::answers(), servers::answers(), media::answers(), agents::answers()];
    answers.into_iter().flatten().collect()
}
