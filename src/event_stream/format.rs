//! The formats of streams that are understood, and how they are told.

/// How a stream is cut into its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Events that end at blank lines (WHATWG HTML, 9.2).
    EventStream,
    /// JSON texts, one a line.
    Lines,
}

/// The media type of an event stream (WHATWG HTML, 9.2.5).
pub const MEDIA_TYPE: &str = "text/event-stream";

/// What streams of JSON texts, one a line, are called. None of the names is registered.
const LINES: [&str; 5] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/jsonlines",
];

/// What an event stream may begin with so that it is taken for one without its media type.
const BEGINNINGS: [&[u8]; 4] = [b"data:", b"event:", b"retry:", b":"];
const BOM: &[u8] = b"\xEF\xBB\xBF";

impl Format {
    /// What a `Content-Type` names, whatever its case and parameters (RFC 9110, 8.3.1).
    pub fn of_content_type(content_type: &[u8]) -> Option<Self> {
        let is = |name: &str| is_media_type(content_type, name);
        if is(MEDIA_TYPE) {
            Some(Self::EventStream)
        } else {
            LINES.iter().any(|name| is(name)).then_some(Self::Lines)
        }
    }
}

/// Whether a `Content-Type` names this media type.
pub fn is_media_type(content_type: &[u8], name: &str) -> bool {
    let essence = content_type.split(|&b| b == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(name.as_bytes())
}

/// Whether a body begins like an event stream; `None` if these bytes are too few to tell.
pub fn begins_like_events(bytes: &[u8]) -> Option<bool> {
    if bytes.len() < BOM.len() && BOM.starts_with(bytes) {
        return None;
    }
    let bytes = bytes.strip_prefix(BOM).unwrap_or(bytes);
    if BEGINNINGS.iter().any(|beginning| bytes.starts_with(beginning)) {
        return Some(true);
    }
    let may_become = BEGINNINGS.iter().any(|beginning| beginning.starts_with(bytes));
    if may_become { None } else { Some(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_recognised_with_parameters_and_in_any_case() {
        let format = |name: &str| Format::of_content_type(name.as_bytes());
        for events in ["text/event-stream", "text/event-stream; charset=utf-8", " Text/Event-Stream ;x"] {
            assert_eq!(format(events), Some(Format::EventStream), "{events}");
        }
        for lines in ["application/x-ndjson", "application/jsonl; charset=utf-8", "Application/NDJSON"] {
            assert_eq!(format(lines), Some(Format::Lines), "{lines}");
        }
        for other in ["", "text/plain", "text/event-streams", "application/json; text/event-stream"] {
            assert_eq!(format(other), None, "{other}");
        }
    }

    #[test]
    fn a_beginning_is_told_from_no_more_bytes_than_it_needs() {
        for (bytes, verdict) in [
            ("", None),
            ("d", None),
            ("data", None),
            ("data:", Some(true)),
            (":", Some(true)),
            ("event: x", Some(true)),
            ("dx", Some(false)),
            ("\n", Some(false)),
            ("{", Some(false)),
            ("\u{feff}da", None),
            ("\u{feff}data:", Some(true)),
        ] {
            assert_eq!(begins_like_events(bytes.as_bytes()), verdict, "{bytes:?}");
        }
        assert_eq!(begins_like_events(&BOM[..2]), None);
    }
}
