//! The answer of the demo's model, and the ways it can misbehave.

use serde_json::{Value, json};

/// The answer to every request.
const ANSWER: &str = "A proxy that buffers turns a stream into a wait: the tokens are ready, and the client sees \
    none of them. A proxy that cannot tell a complete answer from a truncated one is worse: the user trusts \
    half an answer. And a proxy that keeps the backend busy after the client has left wastes capacity that \
    other clients wait for. None of this needs a new backend. It only needs a proxy that knows what an event is.";

/// How the model treats a stream. Each has a model name, so any client can choose one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    WellBehaved,
    /// Sends nothing until the whole answer is generated.
    Buffers,
    /// Writes events in fragments.
    Tears,
    /// Closes the connection in the middle of an event.
    Dies,
    /// Ends its response cleanly before the answer is complete.
    StopsShort,
    /// Stops sending, and keeps the connection open.
    Stalls,
    /// Continues to generate after its client is gone.
    IgnoresCancel,
}

impl Manner {
    pub const ALL: [Self; 7] = [
        Self::WellBehaved,
        Self::Buffers,
        Self::Tears,
        Self::Dies,
        Self::StopsShort,
        Self::Stalls,
        Self::IgnoresCancel,
    ];

    /// The name of the model with this behaviour.
    pub fn model(self) -> &'static str {
        match self {
            Self::WellBehaved => "well-behaved",
            Self::Buffers => "buffers",
            Self::Tears => "tears",
            Self::Dies => "dies",
            Self::StopsShort => "stops-short",
            Self::Stalls => "stalls",
            Self::IgnoresCancel => "ignores-cancel",
        }
    }

    /// The behaviour of the model with this name. Unknown names are well-behaved.
    pub fn of_model(name: &str) -> Self {
        Self::ALL.into_iter().find(|manner| manner.model() == name).unwrap_or(Self::WellBehaved)
    }
}

/// The fields of a chat completion request that the model uses.
#[derive(Debug, PartialEq, Eq)]
pub struct ChatRequest {
    pub manner: Manner,
    pub stream: bool,
}

impl ChatRequest {
    /// Parses a request body. `None` if it is not a JSON object.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok().filter(Value::is_object)?;
        Some(Self {
            manner: Manner::of_model(body["model"].as_str().unwrap_or_default()),
            stream: body["stream"].as_bool().unwrap_or_default(),
        })
    }
}

/// The tokens of the answer.
pub fn tokens() -> impl Iterator<Item = &'static str> {
    ANSWER.split_inclusive(' ')
}

/// The events of a streamed answer in order, ending with `[DONE]`.
pub fn events(manner: Manner) -> impl Iterator<Item = String> {
    let event = move |delta: Value, finish_reason: Option<&str>| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish_reason });
        let chunk = json!({
            "id": "chatcmpl-demo", "object": "chat.completion.chunk", "created": 0,
            "model": manner.model(), "choices": [choice],
        });
        format!("data: {chunk}\n\n")
    };
    let role = event(json!({ "role": "assistant", "content": "" }), None);
    let stop = event(json!({}), Some("stop"));
    std::iter::once(role)
        .chain(tokens().map(move |token| event(json!({ "content": token }), None)))
        .chain([stop, "data: [DONE]\n\n".to_owned()])
}

/// The answer to a request without `stream`.
pub fn completion(manner: Manner) -> Value {
    let choice = json!({
        "index": 0, "message": { "role": "assistant", "content": ANSWER }, "finish_reason": "stop",
    });
    json!({
        "id": "chatcmpl-demo", "object": "chat.completion", "created": 0,
        "model": manner.model(), "choices": [choice],
        "usage": { "prompt_tokens": 0, "completion_tokens": tokens().count(), "total_tokens": tokens().count() },
    })
}

pub fn list() -> Value {
    let model = |m: Manner| json!({ "id": m.model(), "object": "model", "created": 0, "owned_by": "demo" });
    json!({ "object": "list", "data": Manner::ALL.map(model) })
}
