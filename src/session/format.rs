//! The formats of bodies, and how to recognize them by their media type.

use crate::http1::is_token;

/// How a body is divided into events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An event stream: events end with a blank line (WHATWG HTML, 9.2).
    EventStream,
    /// JSON lines: each line is an event.
    Lines,
    /// Not divided: the body passes as it arrives.
    Opaque,
}

/// The media type of an event stream (WHATWG HTML, 9.2.5).
pub const MEDIA_TYPE: &str = "text/event-stream";

/// The media types in use for JSON lines. None of them is registered.
const LINES: [&str; 5] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/jsonlines",
];

impl Format {
    /// The format for a media type, in any case and with any parameters (RFC 9110, 8.3.1). `None`: it is not a stream.
    pub fn of_media_type(media_type: &[u8]) -> Option<Self> {
        let is = |name: &str| is_media_type(media_type, name);
        if is(MEDIA_TYPE) {
            Some(Self::EventStream)
        } else {
            LINES.iter().any(|name| is(name)).then_some(Self::Lines)
        }
    }
}

/// Whether `media_type` is `name`, in any case and with any parameters (RFC 9110, 8.3.1).
pub fn is_media_type(media_type: &[u8], name: &str) -> bool {
    let essence = media_type.split(|&b| b == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(name.as_bytes())
}

/// The media type of a response. If its `Content-Type` fields have several, the last valid one counts, as in browsers
/// (WHATWG Fetch, "extract a MIME type"). Empty if there is none.
pub fn media_type<'a>(mut content_types: impl Iterator<Item = &'a [u8]>) -> &'a [u8] {
    let (first, second) = (content_types.next().unwrap_or_default(), content_types.next());
    // Fast path: nearly every response has exactly one media type.
    if second.is_none() && !first.contains(&b',') {
        return first;
    }
    let all = std::iter::once(first).chain(second).chain(content_types);
    all.flat_map(split_at_commas).filter(|media_type| is_valid(media_type)).last().unwrap_or_default()
}

/// Splits a field value at its commas, except those inside quotes.
fn split_at_commas(value: &[u8]) -> std::vec::IntoIter<&[u8]> {
    let (mut parts, mut begin, mut is_quoted, mut is_escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in value.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_quoted,
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => {
                parts.push(&value[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&value[begin..]);
    parts.into_iter()
}

/// Whether this is a valid media type other than `*/*` (WHATWG MIME Sniffing, 4.4).
fn is_valid(media_type: &[u8]) -> bool {
    let essence = media_type.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
    let mut parts = essence.splitn(2, |&b| b == b'/');
    let (kind, subtype) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    is_token(kind) && is_token(subtype) && essence != b"*/*"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_recognized_with_parameters_and_in_any_case() {
        let format = |name: &str| Format::of_media_type(name.as_bytes());
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
    fn of_several_media_types_the_last_valid_one_counts() {
        for (values, found) in [
            (&["text/plain", "text/event-stream"][..], "text/event-stream"),
            (&["text/event-stream, text/plain"], "text/plain"),
            (&["text/event-stream, "], "text/event-stream"),
            (&["text/event-stream", "*/*"], "text/event-stream"),
            (&["text/event-stream", "nonsense"], "text/event-stream"),
            (&["text/event-stream;a=\"x, text/plain\""], "text/event-stream;a=\"x, text/plain\""),
            (&[r#"text/event-stream;a="\", text/plain""#], r#"text/event-stream;a="\", text/plain""#),
            (&["", "/", "text/"], ""),
            (&["text/event-stream"], "text/event-stream"),
            (&[], ""),
        ] {
            let media_type = media_type(values.iter().map(|value| value.as_bytes())).trim_ascii();
            assert_eq!(String::from_utf8_lossy(media_type), found, "{values:?}");
        }
    }
}
