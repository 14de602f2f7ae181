//! The relay of one response body as a sans-IO state machine.
//!
//! It handles `text/event-stream` (WHATWG HTML, 9.2 "Server-sent events"), JSON lines (`application/x-ndjson`), and opaque
//! bodies, which pass unchanged.
//!
//! Time is a parameter. A [`Session`] takes the bytes, end or fault of the body, and the current time. It returns the
//! bytes to write, the next deadline, and the outcome. The relay is a thin shell around it; tests, fuzzers and benchmarks
//! drive it directly.

#![warn(missing_docs)]

mod asked;
mod boundary;
mod condense;
mod deadlines;
pub mod dialect;
mod ending;
mod error_event;
mod event;
mod format;
mod heartbeat;
mod json;
mod json_value;
mod large_event;
mod lines;
mod machine;
mod policy;
mod reader;
mod rechunk;
mod recognition;
mod sniff;
mod tail;
mod waiting;

pub use asked::Asked;
pub use boundary::BoundaryScanner;
pub use ending::{Close, End};
pub use event::{Block, Event};
pub use format::{Format, MEDIA_TYPE, is_media_type, media_type};
pub use heartbeat::Heartbeats;
pub use lines::Unit;
pub use machine::{BATCH, Delivered, Session, Setup};
pub use policy::{ErrorEvents, Policy, Terminal};
pub use recognition::Dialects;
pub use sniff::begins_with_event;
pub use waiting::Waiting;

/// Compiles and runs the example in docs/dialects.md, "Add a dialect".
#[cfg(doctest)]
#[doc = include_str!("../../docs/dialects.md")]
struct AddADialect;
