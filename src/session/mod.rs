//! The protocol of a stream between a backend and a client: `text/event-stream` (WHATWG HTML, 9.2 "Server-sent events"), streams of
//! JSON texts, one a line, and bodies that pass as they are.
//!
//! Sans-IO, and time is a parameter: a [`Session`] takes bytes, ends, faults and the time, and says what is to be written, when it is
//! to be woken, and what has happened. The relay is a thin shell around it, and tests, fuzzers and benches drive it directly.

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

/// The how-to for another dialect, which is followed as it stands there.
#[cfg(doctest)]
#[doc = include_str!("../../docs/dialects.md")]
struct AddADialect;
