//! How far an answer has come.

use super::{Json, JsonRpcRequests};

/// How far an answer has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    #[default]
    Open,
    /// The answer is whole, though more may follow: usage, or the terminal event itself.
    Answered,
    /// The terminal event was there: nothing more is to come.
    Ended,
}

/// Tokens that a backend has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input_tokens: Option<u64>,
    pub output_tokens: Option<u64>,
}

/// What the events of a stream have said so far.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub progress: Progress,
    /// An event with a part of the answer was there.
    pub has_content: bool,
    /// The backend has reported an error itself.
    pub has_error: bool,
    /// An event could not be read, so that nothing is known of what was in it.
    pub is_unread: bool,
    /// Events came after the last one that was to come.
    pub goes_on: bool,
    /// An event had an id, which clients resume from.
    pub has_id: bool,
    pub usage: Usage,
    /// The JSON-RPC requests that the stream answers.
    pub requests: JsonRpcRequests,
    /// The choices that were seen, and those that have finished, one bit each.
    choices: [u128; 2],
}

impl Answer {
    /// Of which nothing has come yet.
    pub fn to(requests: JsonRpcRequests) -> Self {
        Self { requests, ..Self::default() }
    }

    /// Notes that the answer is whole, though more may follow.
    pub fn finish(&mut self) {
        self.progress = self.progress.max(Progress::Answered);
    }

    /// Notes that nothing more is to come.
    pub fn end(&mut self) {
        self.progress = Progress::Ended;
        self.goes_on = false;
    }

    /// Notes that an answer begins, which may follow another one in the same stream.
    pub fn begin(&mut self) {
        self.progress = Progress::Open;
    }

    /// Notes a part of one of several answers; all must finish. `index`: which of them.
    pub fn note_choice(&mut self, index: u64, is_finished: bool) {
        // As many as anybody asks for; the others share one.
        let bit = 1_u128 << index.min(127);
        let [seen, finished] = &mut self.choices;
        *seen |= bit;
        *finished |= if is_finished { bit } else { 0 };
        if self.progress < Progress::Ended {
            self.progress = if *seen == *finished { Progress::Answered } else { Progress::Open };
        }
    }

    /// Takes counts of tokens that have one of these names.
    pub fn count_either(&mut self, usage: &Json, input: [&str; 2], output: [&str; 2]) {
        let either = |names: [&str; 2]| names.into_iter().find_map(|name| usage.get(name))?.as_u64();
        self.count(either(input), either(output));
    }

    /// Takes counts of tokens: the last one that is not zero counts, because some backends write zeros where they know nothing
    /// new.
    pub fn count(&mut self, input_tokens: Option<u64>, output_tokens: Option<u64>) {
        let merge = |counted: &mut Option<u64>, count: Option<u64>| match (count, &counted) {
            (Some(0), Some(_)) | (None, _) => {}
            (count @ Some(_), _) => *counted = count,
        };
        merge(&mut self.usage.input_tokens, input_tokens);
        merge(&mut self.usage.output_tokens, output_tokens);
    }
}

/// Whether there is some text in a value, at any depth.
pub fn has_text(value: &Json) -> bool {
    match value {
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => items.iter().any(has_text),
        Json::Object(members) => members.iter().any(|(_, value)| has_text(value)),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

/// Whether a value says something: not null, false, zero or empty.
pub fn is_set(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(is_true) => *is_true,
        Json::Number(number) => number.as_f64() != Some(0.0),
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => !items.is_empty(),
        Json::Object(members) => !members.is_empty(),
    }
}
