//! What the events of a stream mean: the formats in which LLM backends stream.
//!
//! Enough of each is understood to tell whether an answer is complete, which event is the first with content, and
//! whether the backend itself reports an error. Payloads are never changed.

mod anthropic;
mod chat;
mod json;
mod mcp;
mod ollama;
mod recognizer;
mod responses;

pub use mcp::OpenRequests;
pub use recognizer::Recognizer;

/// A format in which backends stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI's chat completions and completions, and everything compatible with them.
    OpenAi,
    /// OpenAI's Responses.
    Responses,
    /// Anthropic's messages.
    Anthropic,
    /// Ollama's own API, which streams JSON texts, one a line.
    Ollama,
    /// MCP's streamable HTTP: JSON-RPC messages.
    Mcp,
    /// Any other event stream. It has no terminal event: any clean end is complete.
    Generic,
}

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

/// What one event says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meaning {
    /// It carries a part of the answer.
    pub content: bool,
    pub progress: Progress,
    /// It is the backend's own report of an error.
    pub error: bool,
    pub usage: Option<Usage>,
}
