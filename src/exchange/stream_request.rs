//! Decides whether a request asks for a stream. Sans-IO.

use http::Method;

use super::upload::Upload;
use crate::http1::{Fields, RequestHead, list};
use crate::session::{MEDIA_TYPE, is_media_type};

/// Whether a request is known to ask for a stream, by its `Accept` field, the `stream` member of its body, or
/// Gemini's URL.
pub fn asks_for_stream(request: &RequestHead, upload: &Upload) -> bool {
    request.method != Method::HEAD
        && (accepts_event_stream(&request.fields)
            || upload.members().stream() == Some(true)
            || asks_gemini(request))
}

/// Google's API requests event format in the query and streaming in the path.
fn asks_gemini(request: &RequestHead) -> bool {
    request.path().ends_with(":streamGenerateContent")
        && memchr::memmem::find(request.target(), b"alt=sse").is_some()
}

/// Whether `Accept` names event streams explicitly (RFC 9110, 12.5.1). Wildcards do not count.
pub fn accepts_event_stream(request: &Fields) -> bool {
    list(request.values("Accept")).any(|range| is_media_type(range, MEDIA_TYPE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_must_name_event_streams() {
        let accepts = |value: &'static str| {
            let mut fields = Fields::default();
            fields.append("accept", value);
            accepts_event_stream(&fields)
        };
        assert!(accepts("text/event-stream"));
        assert!(accepts("application/json, Text/Event-Stream;q=0.9"));
        assert!(!accepts("*/*") && !accepts("text/*") && !accepts("application/json"));
    }
}
