//! Whether a request asks for a stream. Sans-IO.

use http::{HeaderMap, Method, header};
use memchr::memchr2;
use pingora::http::RequestHeader;

use super::upload::Upload;
use crate::event_stream::MEDIA_TYPE;

/// Whether a request is known to ask for a stream, by what it accepts or by the `stream` member of its body.
pub fn asks_for_stream(request: &RequestHeader, upload: &Upload) -> bool {
    request.method != Method::HEAD
        && (accepts_event_stream(&request.headers) || upload.stream_member() == Some(true))
}

/// Whether `Accept` names event streams (RFC 9110, 12.5.1). A wildcard does not.
pub fn accepts_event_stream(headers: &HeaderMap) -> bool {
    let mut ranges =
        headers.get_all(header::ACCEPT).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    ranges.any(|range| crate::event_stream::is_media_type(range, MEDIA_TYPE))
}

/// Finds the member `stream` of the JSON object that a request body is, while the body passes.
///
/// It follows strings and nesting and nothing else, so no text in a prompt can pass for the member, and a body of any size
/// costs no memory.
#[derive(Clone, Debug, Default)]
pub struct StreamMember {
    depth: u32,
    place: Place,
    value: Option<bool>,
}

/// Where in the text the finder stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Before the first byte that is not white space.
    #[default]
    Begin,
    /// In the outermost object, where the name of a member is next.
    BeforeName,
    /// In the name of one of its members: so many of its bytes match so far, or none can any more.
    Name(Option<u8>),
    /// After that name, where the colon and the value follow.
    AfterName,
    /// Anywhere else outside of strings.
    Elsewhere,
    String,
    /// Right after a backslash in a string.
    Escape,
    /// The body is no JSON object.
    NoObject,
}

const NAME: &[u8] = b"stream";

impl StreamMember {
    /// Reads the next bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.place {
                Place::NoObject => return,
                // The bulk of every body: jump to the end of the string.
                Place::String => {
                    let Some(length) = memchr2(b'"', b'\\', &bytes[at..]) else { return };
                    at += length;
                    self.place = if bytes[at] == b'"' { Place::Elsewhere } else { Place::Escape };
                }
                _ => self.read(byte),
            }
            at += 1;
        }
    }

    /// Whether the member is true or false; `None` if it has neither value, or was not there yet.
    pub fn value(&self) -> Option<bool> {
        self.value
    }

    fn read(&mut self, byte: u8) {
        self.place = match (self.place, byte) {
            (Place::Escape, _) => Place::String,
            // A name with an escape in it is not looked at: nobody writes this one so.
            (Place::Name(matched), _) if byte != b'"' => {
                let next = matched.filter(|&n| NAME.get(usize::from(n)) == Some(&byte)).map(|n| n + 1);
                if byte == b'\\' { Place::Escape } else { Place::Name(next) }
            }
            (Place::Name(Some(n)), _) if usize::from(n) == NAME.len() => Place::AfterName,
            (Place::Name(_), _) => Place::Elsewhere,
            (place, b' ' | b'\t' | b'\r' | b'\n') => place,
            (Place::Begin, b'{') => {
                self.depth = 1;
                Place::BeforeName
            }
            (Place::Begin, _) => Place::NoObject,
            (Place::BeforeName, b'"') => Place::Name(Some(0)),
            (Place::AfterName, b':') => Place::AfterName,
            (place, _) => {
                if place == Place::AfterName {
                    self.value = match byte {
                        b't' => Some(true),
                        b'f' => Some(false),
                        _ => None,
                    };
                }
                self.follow(byte)
            }
        };
    }

    /// Follows the nesting.
    fn follow(&mut self, byte: u8) -> Place {
        match byte {
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b'"' => return Place::String,
            b',' if self.depth == 1 => return Place::BeforeName,
            _ => {}
        }
        if self.depth == 0 { Place::NoObject } else { Place::Elsewhere }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_member_is_found_and_nothing_else_is_taken_for_it() {
        for (value, body) in [
            (Some(true), r#"{"stream":true}"#),
            (Some(true), " {\"a\":[{\"b\":1},2],\r\n\t\"stream\" : true , \"c\":{}}"),
            (Some(true), r#"{"messages":[{"content":"\\"}],"stream":true}"#),
            (Some(true), r#"{"a":"{","stream":true"#),
            (Some(false), r#"{"stream":false}"#),
            (None, r#"{"stream":null}"#),
            (None, r#"{"stream":"true"}"#),
            (None, r#"{"stream_options":true,"strea":true,"xstream":true}"#),
            (None, r#"{"a":{"stream":true}}"#),
            (None, r#"[{"stream":true}]"#),
            (None, r#"{"prompt":"\"stream\":true"}"#),
            (None, r#"{"prompt":"x\",\"stream\":true"}"#),
            (None, r#"{"a":"stream"}"#),
            (None, r#"{} {"stream":true}"#),
            (None, r#"stream":true"#),
            (None, ""),
        ] {
            for split in 0..=body.len() {
                let mut member = StreamMember::default();
                member.push(&body.as_bytes()[..split]);
                member.push(&body.as_bytes()[split..]);
                assert_eq!(member.value(), value, "{body} split at {split}");
            }
        }
    }

    #[test]
    fn accept_must_name_event_streams() {
        let accepts = |value: &'static str| {
            let accept = [(header::ACCEPT, HeaderValue::from_static(value))];
            accepts_event_stream(&accept.into_iter().collect())
        };
        assert!(accepts("text/event-stream"));
        assert!(accepts("application/json, Text/Event-Stream;q=0.9"));
        assert!(!accepts("*/*") && !accepts("text/*") && !accepts("application/json"));
    }
}
