//! What sidestream knows about `text/event-stream` bodies (WHATWG HTML, 9.2 "Server-sent events").
//!
//! Sans-IO: bytes in, bytes out, no clock and no socket. The relay is a thin shell around it, and unit tests,
//! property tests and benches drive it directly.

mod boundary;
pub mod dialect;
pub mod error_event;
mod event;
mod rechunk;

pub use boundary::{BoundaryScanner, Scan};
pub use error_event::ErrorCode;
pub use event::Event;
pub use rechunk::{Rechunker, Tail};

/// The media type of an event stream (WHATWG HTML, 9.2.5).
pub const MEDIA_TYPE: &str = "text/event-stream";

/// Returns the comment that fills a silence.
///
/// One line and no blank line after it: a comment followed by a blank line makes several clients dispatch an
/// empty event once an `id` was seen. `after_cr`: the last byte written was a CR whose LF may still come; the
/// comment then ends in a CR itself, so that this LF ends the comment's line and not a blank one.
pub fn heartbeat(after_cr: bool) -> &'static [u8] {
    if after_cr { b": heartbeat\r" } else { b": heartbeat\n" }
}

/// Whether a `Content-Type` names an event stream, whatever its case and parameters (RFC 9110, 8.3.1).
pub fn is_event_stream(content_type: &[u8]) -> bool {
    let essence = content_type.split(|&b| b == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(MEDIA_TYPE.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_is_recognised_with_parameters_and_in_any_case() {
        for yes in ["text/event-stream", "text/event-stream; charset=utf-8", " Text/Event-Stream ;x"] {
            assert!(is_event_stream(yes.as_bytes()), "{yes}");
        }
        for no in ["", "text/plain", "text/event-streams", "application/json; text/event-stream"] {
            assert!(!is_event_stream(no.as_bytes()), "{no}");
        }
    }
}
