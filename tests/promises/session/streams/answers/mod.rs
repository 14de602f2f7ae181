//! Complete answers in each dialect, as the API documentation shows them or as servers were observed to send them.

mod agents;
mod chat;
mod media;
mod servers;
mod vendors;

use super::error_form::ErrorForm;
use super::row::{Head, Request};

/// A complete answer as a list of events.
pub struct Answer {
    pub name: &'static str,
    pub dialect: &'static str,
    pub request: Request,
    pub head: Head,
    /// The events before the answer is complete.
    pub begun: Vec<String>,
    /// The events that complete it. The first one must be a single event, which the tests cut in two.
    pub end: Vec<String>,
    /// The index of the first event with content.
    pub token: u64,
    /// The token counts in the beginning, input and output.
    pub usage_begun: Usage,
    pub usage: Usage,
    /// The end is a terminal event: nothing may follow it.
    pub ends_for_good: bool,
    /// Without its end, it is truncated.
    pub requires_end: bool,
    /// The data of the events has their type, so their names may be missing.
    pub types_are_in_data: bool,
    /// The error event for its clients, and whether the connection breaks afterwards: if the backend's broke, and otherwise.
    pub error: ErrorForm,
    pub breaks_when_broken: bool,
    pub breaks_when_truncated: bool,
}

/// Token counts of input and output.
pub type Usage = (Option<u64>, Option<u64>);

impl Answer {
    /// An event stream whose clients raise the superset as an error.
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

    /// Sets the events. `end`: the number of events at the end that complete the answer.
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

    /// More events may follow the end, such as usage.
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

    /// All events.
    pub fn events(&self) -> impl Iterator<Item = &str> {
        self.begun.iter().chain(&self.end).map(String::as_str)
    }
}

/// One or more answers in each dialect.
pub fn answers() -> Vec<Answer> {
    let answers =
        [chat::answers(), vendors::answers(), servers::answers(), media::answers(), agents::answers()];
    answers.into_iter().flatten().collect()
}
