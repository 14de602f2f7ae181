//! The progress of an answer, as the dialect reads it from the events.

use super::{Json, JsonRpcRequests};

/// How far an answer has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// The answer is incomplete.
    #[default]
    Open,
    /// The answer is complete. More events may follow, such as usage or the terminal event.
    Answered,
    /// The terminal event has arrived, and no more events are expected.
    Ended,
}

/// The token counts that a backend has reported. `None`: it has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the input, cached ones included.
    pub input_tokens: Option<u64>,
    /// Tokens of the output.
    pub output_tokens: Option<u64>,
}

/// What the events of a stream have revealed so far.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// How far the answer has come.
    pub progress: Progress,
    /// An event with a part of the answer has arrived.
    pub has_content: bool,
    /// The backend has reported an error.
    pub has_error: bool,
    /// An event could not be read, so the end of the answer may have been in it.
    pub is_unread: bool,
    /// Events have arrived after the terminal event.
    pub goes_on: bool,
    /// An event had an `id`, from which clients can resume.
    pub has_id: bool,
    /// The token counts.
    pub usage: Usage,
    /// The JSON-RPC requests that the stream answers.
    pub requests: JsonRpcRequests,
    /// The choices seen and the choices finished, one bit for each index.
    choices: [u128; 2],
}

impl Answer {
    /// The answer to these requests, before the first event.
    pub fn to(requests: JsonRpcRequests) -> Self {
        Self { requests, ..Self::default() }
    }

    /// Notes that the answer is complete. More events may follow.
    pub fn finish(&mut self) {
        self.progress = self.progress.max(Progress::Answered);
    }

    /// Notes the terminal event.
    pub fn end(&mut self) {
        self.progress = Progress::Ended;
        self.goes_on = false;
    }

    /// Notes that an answer begins, possibly after another one in the same stream.
    pub fn begin(&mut self) {
        self.progress = Progress::Open;
    }

    /// Notes a part of the choice `index`. The answer is complete when all choices seen so far are finished.
    pub fn note_choice(&mut self, index: u64, is_finished: bool) {
        // 127 choices have a bit each; any further ones share the last bit.
        let bit = 1_u128 << index.min(127);
        let [seen, finished] = &mut self.choices;
        *seen |= bit;
        *finished |= if is_finished { bit } else { 0 };
        if self.progress < Progress::Ended {
            self.progress = if *seen == *finished { Progress::Answered } else { Progress::Open };
        }
    }

    /// Like [`Self::count`], with the counts in these members of `usage`. The first name that exists counts.
    pub fn count_either(&mut self, usage: &Json, input: [&str; 2], output: [&str; 2]) {
        let either = |names: [&str; 2]| names.into_iter().find_map(|name| usage.get(name))?.as_u64();
        self.count(either(input), either(output));
    }

    /// Updates the token counts. A later zero does not replace a count, because some backends send zeros for unknown
    /// counts.
    pub fn count(&mut self, input_tokens: Option<u64>, output_tokens: Option<u64>) {
        let merge = |counted: &mut Option<u64>, count: Option<u64>| match (count, &counted) {
            (Some(0), Some(_)) | (None, _) => {}
            (count @ Some(_), _) => *counted = count,
        };
        merge(&mut self.usage.input_tokens, input_tokens);
        merge(&mut self.usage.output_tokens, output_tokens);
    }
}

/// Whether the value contains a nonempty string, at any depth.
pub fn has_text(value: &Json) -> bool {
    match value {
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => items.iter().any(has_text),
        Json::Object(members) => members.iter().any(|(_, value)| has_text(value)),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

/// Whether the value is anything but null, false, zero or empty.
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
