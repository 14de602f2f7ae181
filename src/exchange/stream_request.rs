//! Whether a request asks for a stream. Sans-IO.

use http::Method;
use memchr::memchr2;

use super::upload::Upload;
use crate::http1::{Fields, RequestHead, list};
use crate::session::{MEDIA_TYPE, is_media_type};

/// Whether a request is known to ask for a stream, by what it accepts or by the `stream` member of its body.
pub fn asks_for_stream(request: &RequestHead, upload: &Upload) -> bool {
    request.method != Method::HEAD
        && (accepts_event_stream(&request.fields)
            || upload.members().stream() == Some(true)
            || asks_gemini(request))
}

/// Google's API is asked for events in the query, and for a stream in the path.
fn asks_gemini(request: &RequestHead) -> bool {
    request.path().ends_with(":streamGenerateContent")
        && memchr::memmem::find(request.target(), b"alt=sse").is_some()
}

/// Whether `Accept` names event streams (RFC 9110, 12.5.1). A wildcard does not.
pub fn accepts_event_stream(request: &Fields) -> bool {
    list(request.values("Accept")).any(|range| is_media_type(range, MEDIA_TYPE))
}

/// Bytes of the name of a model that are kept; whatever is longer is none.
const MAX_MODEL: usize = 256;

/// Finds the members `stream` and `model` of the JSON object that a request body is, while the body passes.
///
/// It follows strings and nesting and nothing else, so no text in a prompt can pass for a member, and a body of any size
/// costs no memory.
#[derive(Clone, Debug, Default)]
pub struct RequestMembers {
    depth: u32,
    place: JsonPlace,
    stream: Option<bool>,
    /// As it stands in the body, its escapes included.
    model: Vec<u8>,
    has_model: bool,
}

/// Where in the text the finder stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum JsonPlace {
    /// Before the first byte that is not white space.
    #[default]
    Begin,
    /// In the outermost object, where the name of a member is next.
    BeforeName,
    /// In the name of one of its members.
    MemberName(MemberName),
    /// After the name, where the colon and the value follow.
    AfterName(WatchedMember),
    /// In the value of `model`.
    Model,
    /// Right after a backslash in it.
    ModelEscape,
    /// Anywhere else outside of strings.
    Elsewhere,
    String,
    /// Right after a backslash in a string.
    Escape,
    /// The body is no JSON object.
    NoObject,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WatchedMember {
    Stream,
    Model,
}

/// The first bytes of a name, and how many it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct MemberName {
    bytes: [u8; 8],
    length: usize,
}

impl MemberName {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
        }
        self.length += 1;
    }

    fn member(&self) -> Option<WatchedMember> {
        match self.bytes.get(..self.length)? {
            b"stream" => Some(WatchedMember::Stream),
            b"model" => Some(WatchedMember::Model),
            _ => None,
        }
    }
}

impl RequestMembers {
    /// Reads the next bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.place {
                JsonPlace::NoObject => return,
                // The bulk of every body: jump to the end of the string.
                JsonPlace::String => {
                    let Some(length) = memchr2(b'"', b'\\', &bytes[at..]) else { return };
                    at += length;
                    self.place = if bytes[at] == b'"' { JsonPlace::Elsewhere } else { JsonPlace::Escape };
                }
                _ => self.read(byte),
            }
            at += 1;
        }
    }

    /// Whether `stream` is true or false; `None` if it has neither value, or was not there yet.
    pub fn stream(&self) -> Option<bool> {
        self.stream
    }

    /// The string that `model` is.
    pub fn model(&self) -> Option<String> {
        let quoted = [b"\"", &self.model[..], b"\""].concat();
        self.has_model.then(|| serde_json::from_slice(&quoted).ok())?
    }

    fn read(&mut self, byte: u8) {
        self.place = match (self.place, byte) {
            (JsonPlace::Escape, _) => JsonPlace::String,
            (JsonPlace::ModelEscape, _) => self.keep_of_model(byte),
            (JsonPlace::Model, b'"') => {
                self.has_model = true;
                JsonPlace::Elsewhere
            }
            (JsonPlace::Model, _) => self.keep_of_model(byte),
            // A name with an escape in it is not looked at: nobody writes these so.
            (JsonPlace::MemberName(_), b'\\') => JsonPlace::Escape,
            (JsonPlace::MemberName(name), b'"') => {
                name.member().map_or(JsonPlace::Elsewhere, JsonPlace::AfterName)
            }
            (JsonPlace::MemberName(mut name), _) => {
                name.push(byte);
                JsonPlace::MemberName(name)
            }
            (place, b' ' | b'\t' | b'\r' | b'\n') => place,
            (JsonPlace::Begin, b'{') => {
                self.depth = 1;
                JsonPlace::BeforeName
            }
            (JsonPlace::Begin, _) => JsonPlace::NoObject,
            (JsonPlace::BeforeName, b'"') => JsonPlace::MemberName(MemberName::default()),
            (JsonPlace::AfterName(member), b':') => JsonPlace::AfterName(member),
            (JsonPlace::AfterName(member), _) => self.begin_value(member, byte),
            (_, _) => self.follow(byte),
        };
    }

    fn begin_value(&mut self, member: WatchedMember, byte: u8) -> JsonPlace {
        match member {
            WatchedMember::Stream => {
                self.stream = match byte {
                    b't' => Some(true),
                    b'f' => Some(false),
                    _ => None,
                };
                self.follow(byte)
            }
            WatchedMember::Model => {
                self.model.clear();
                self.has_model = false;
                if byte == b'"' { JsonPlace::Model } else { self.follow(byte) }
            }
        }
    }

    fn keep_of_model(&mut self, byte: u8) -> JsonPlace {
        if self.model.len() == MAX_MODEL {
            self.model.clear();
            return if byte == b'\\' { JsonPlace::Escape } else { JsonPlace::String };
        }
        self.model.push(byte);
        if byte == b'\\' && self.place == JsonPlace::Model {
            JsonPlace::ModelEscape
        } else {
            JsonPlace::Model
        }
    }

    /// Follows the nesting.
    fn follow(&mut self, byte: u8) -> JsonPlace {
        match byte {
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b'"' => return JsonPlace::String,
            b',' if self.depth == 1 => return JsonPlace::BeforeName,
            _ => {}
        }
        if self.depth == 0 { JsonPlace::NoObject } else { JsonPlace::Elsewhere }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_member_is_found_and_nothing_else_is_taken_for_it() {
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
                assert_eq!(split_at(body, split).stream(), value, "{body} split at {split}");
            }
        }
    }

    fn split_at(body: &str, split: usize) -> RequestMembers {
        let mut members = RequestMembers::default();
        members.push(&body.as_bytes()[..split]);
        members.push(&body.as_bytes()[split..]);
        members
    }

    #[test]
    fn the_model_is_read_whatever_is_in_its_name() {
        let (longest, longer) = ("m".repeat(MAX_MODEL), "m".repeat(MAX_MODEL + 1));
        for (model, body) in [
            (Some("gpt-4o"), r#"{"model":"gpt-4o","stream":true}"#.to_owned()),
            (Some("a\"b\\"), r#"{"a":["model"],"model" : "a\"b\\"}"#.to_owned()),
            (Some("é\n"), r#"{"model":"\u00e9\n"}"#.to_owned()),
            (Some("b"), r#"{"model":"a","model":"b"}"#.to_owned()),
            (Some(&longest), format!(r#"{{"model":"{longest}"}}"#)),
            (None, format!(r#"{{"model":"{longer}"}}"#)),
            (None, r#"{"model":7,"models":"a","mode":"a"}"#.to_owned()),
            (None, r#"{"a":{"model":"b"},"prompt":"\"model\":\"c\""}"#.to_owned()),
            (None, r#"{"model":"unfinished"#.to_owned()),
        ] {
            for split in 0..=body.len() {
                if body.is_char_boundary(split) {
                    assert_eq!(split_at(&body, split).model().as_deref(), model, "{body} split at {split}");
                }
            }
            // What follows is still understood.
            let body = body.trim_end_matches('}').to_owned() + r#","stream":true}"#;
            assert!(model.is_none() || split_at(&body, 0).stream() == Some(true), "{body}");
        }
    }

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
