//! What sidestream knows about `text/event-stream` bodies (WHATWG HTML, 9.2 "Server-sent events"), and about streams of JSON
//! texts, one a line, where a line stands for an event.
//!
//! Sans-IO: bytes in, bytes out, no clock and no socket. The relay is a thin shell around it, and unit tests,
//! property tests and benches drive it directly.

mod boundary;
pub mod dialect;
pub mod error_event;
mod event;
mod format;
mod lines;
mod rechunk;

pub use boundary::{BoundaryScanner, Scan};
pub use error_event::ErrorCode;
pub use event::{Block, Event};
pub use format::{Format, MEDIA_TYPE, begins_like_events, is_media_type};
pub use lines::{LineScanner, ToEvents, Unit};
pub use rechunk::{Rechunker, Tail};

/// Returns the comment that fills a silence.
///
/// One line and no blank line after it: a comment followed by a blank line makes several clients dispatch an
/// empty event once an `id` was seen. `after_cr`: the last byte written was a CR whose LF may still come; the
/// comment then ends in a CR itself, so that this LF ends the comment's line and not a blank one.
pub fn heartbeat(after_cr: bool) -> &'static [u8] {
    if after_cr { b": heartbeat\r" } else { b": heartbeat\n" }
}
