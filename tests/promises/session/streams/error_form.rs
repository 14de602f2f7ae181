//! The expected error events.

use serde_json::{Value, json};
use sidestream::outcome::Failure;

/// The format of an error event.
#[derive(Clone, Debug)]
pub enum ErrorForm {
    /// The event that every LLM SDK raises as an error.
    Superset,
    /// A JSON-RPC error response to each of these requests.
    JsonRpc(Vec<Value>),
    Gemini,
    Cohere,
    AiSdkUi,
    AgUi,
    /// A line of JSON.
    Line,
}

/// The outcome for a code.
pub fn outcome_of(code: &str) -> &'static str {
    match code {
        "upstream_reset" | "upstream_closed" => "upstream_reset",
        "upstream_truncated" => "upstream_truncated",
        "idle_timeout" => "idle_timeout",
        "first_event_timeout" => "first_event_timeout",
        other => panic!("no row fails with {other}"),
    }
}

fn message(code: &str) -> &'static str {
    let failure = Failure::ALL.into_iter().find(|failure| failure.facts().code == code);
    failure.expect("a known code").facts().broken_off
}

impl ErrorForm {
    /// Describes how these bytes differ from this format. `events`: the number of events before them.
    pub fn complaint(&self, code: &str, bytes: &[u8], events: u64) -> Option<String> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let Some(found) = self.parse(&text) else { return Some(format!("no {self:?}: {text:?}")) };
        let expected = self.events(code, events);
        if found.len() != expected.len() {
            return Some(format!("{} events of {self:?}: {text:?}", found.len()));
        }
        let mut pairs = found.iter().zip(&expected);
        pairs.find_map(|((name, found), expected)| {
            let is_named_well = name.as_ref().is_none_or(|name| self.names().contains(&name.as_str()));
            let needs_name = matches!(self, Self::Superset) && name.is_none();
            let is_well = is_named_well && !needs_name && contains(found, expected);
            (!is_well).then(|| format!("{text:?} is not {expected}"))
        })
    }

    /// The names that its events may have.
    fn names(&self) -> &'static [&'static str] {
        match self {
            Self::Superset => &["error"],
            Self::JsonRpc(_) => &["message"],
            Self::Cohere => &["message-end"],
            // The clients of these dialects do not expect named events.
            Self::Gemini | Self::AiSdkUi | Self::AgUi | Self::Line => &[],
        }
    }

    /// The members that the data of each event must have.
    fn events(&self, code: &str, events: u64) -> Vec<Value> {
        let message = message(code);
        let error = json!({ "type": "overloaded_error", "code": code, "message": message, "param": null });
        let one = match self {
            Self::Superset => {
                json!({ "type": "error", "sequence_number": events, "code": code, "message": message, "param": null, "error": error })
            }
            Self::JsonRpc(ids) => {
                let error = json!({ "code": -32000, "message": message, "data": { "code": code } });
                return ids.iter().map(|id| json!({ "jsonrpc": "2.0", "id": id, "error": error })).collect();
            }
            Self::Gemini => json!({ "error": { "code": 503, "message": message, "status": "UNAVAILABLE" } }),
            Self::Cohere => {
                json!({ "type": "message-end", "delta": { "finish_reason": "ERROR", "error": message } })
            }
            Self::AiSdkUi => json!({ "type": "error", "errorText": message }),
            Self::AgUi => json!({ "type": "RUN_ERROR", "message": message, "code": code }),
            Self::Line => json!({ "error": message, "code": code }),
        };
        vec![one]
    }

    /// The names and data of the events. `None`: there are other bytes.
    fn parse(&self, text: &str) -> Option<Vec<(Option<String>, Value)>> {
        if matches!(self, Self::Line) {
            return Some(vec![(None, serde_json::from_str(text.strip_suffix('\n')?).ok()?)]);
        }
        // Google's clients need `error` as the first member.
        if matches!(self, Self::Gemini) && !text.starts_with("data: {\"error\":{") {
            return None;
        }
        let blocks = text.strip_suffix("\n\n")?.split("\n\n");
        let event = |block: &str| {
            let (name, data) = match block.strip_prefix("event: ") {
                Some(rest) => rest.split_once('\n').map(|(name, data)| (Some(name.to_owned()), data))?,
                None => (None, block),
            };
            Some((name, serde_json::from_str(data.strip_prefix("data: ")?).ok()?))
        };
        blocks.map(event).collect()
    }
}

/// Whether `value` contains `part`.
fn contains(value: &Value, part: &Value) -> bool {
    match part {
        Value::Object(members) => {
            members.iter().all(|(name, part)| value.get(name).is_some_and(|value| contains(value, part)))
        }
        other => value == other,
    }
}
