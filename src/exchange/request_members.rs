//! The members of the JSON object that a request body is, as far as they say what is asked for, and of which server. Sans-IO.

use std::borrow::Cow;

use memchr::memchr2;

use super::key_members::KeyMembers;

/// Bytes of the text that a value is; whatever is longer is none.
const MAX_VALUE: usize = 256;

/// Bytes that are kept of a name or a value: each byte of its text may be written as `\u0061`.
const MAX_WRITTEN: usize = 6 * MAX_VALUE;

/// Finds the members `stream` and `model` of a request body, and [keys](Self::watch), while the body passes.
///
/// It follows strings and nesting and nothing else, so no text in a prompt can pass for a member, and a body of any size
/// costs no memory.
#[derive(Clone, Debug, Default)]
pub struct RequestMembers {
    depth: u32,
    place: JsonPlace,
    stream: Option<bool>,
    /// As it stands in the body, its escapes included.
    model: Option<Box<[u8]>>,
    /// Of the name or the value that is being read, its escapes included.
    text: Vec<u8>,
    keys: Option<Box<KeyMembers>>,
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
    MemberName,
    /// Right after a backslash in it.
    NameEscape,
    /// After the name, where the colon and the value follow.
    AfterName(WatchedMember),
    /// In the string that a watched member is.
    Text(WatchedMember),
    /// Right after a backslash in it.
    TextEscape(WatchedMember),
    /// In the number, or the `true` or `false`, that a key is.
    Literal(WatchedMember),
    /// Anywhere else outside of strings.
    Elsewhere,
    String,
    /// Right after a backslash in a string.
    Escape,
    /// The body is no JSON object, or the object has ended.
    NoObject,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct WatchedMember {
    is_stream: bool,
    is_model: bool,
    /// Which of the keys it is.
    key: Option<usize>,
}

impl RequestMembers {
    /// Finds these members too, from the beginning of the body on and in so many bytes of it.
    pub fn watch<'a>(&mut self, names: impl Iterator<Item = &'a str>, within: usize) {
        self.keys = Some(Box::new(KeyMembers::new(names, within)));
    }

    /// Whether more of the body could tell which key comes first.
    pub fn seeks_key(&self) -> bool {
        self.place != JsonPlace::NoObject && self.keys.as_ref().is_some_and(|keys| keys.is_open())
    }

    /// The first of the keys that has a value, which is a string, a number, true or false: its index, and the text of its value. None
    /// is watched any longer.
    pub fn take_key(&mut self) -> Option<(usize, Box<[u8]>)> {
        self.keys.take()?.into_first()
    }

    /// Reads the next bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        let Some(keys) = &self.keys else { return self.follow_all(bytes) };
        // Whatever the pieces of the body are, the same is found.
        let (near, far) = bytes.split_at(keys.reach(bytes.len()));
        self.follow_all(near);
        if let Some(keys) = &mut self.keys {
            keys.advance(near.len());
        }
        self.follow_all(far);
    }

    /// Whether `stream` is true or false; `None` if it has neither value, or was not there yet.
    pub fn stream(&self) -> Option<bool> {
        self.stream
    }

    /// The string that `model` is.
    pub fn model(&self) -> Option<String> {
        text_of(self.model.as_deref()?).filter(|text| text.len() <= MAX_VALUE)
    }

    fn follow_all(&mut self, bytes: &[u8]) {
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

    fn read(&mut self, byte: u8) {
        self.place = match (self.place, byte) {
            (JsonPlace::Escape, _) => JsonPlace::String,
            (JsonPlace::TextEscape(member), _) => {
                self.keep_or(byte, JsonPlace::Text(member), JsonPlace::String)
            }
            (JsonPlace::Text(member), b'"') => {
                self.end_value(member);
                JsonPlace::Elsewhere
            }
            (JsonPlace::Text(member), b'\\') => {
                self.keep_or(byte, JsonPlace::TextEscape(member), JsonPlace::Escape)
            }
            (JsonPlace::Text(member), _) => self.keep_or(byte, JsonPlace::Text(member), JsonPlace::String),
            (JsonPlace::Literal(member), b'0'..=b'9' | b'a'..=b'z' | b'E' | b'+' | b'-' | b'.') => {
                if self.keep(byte) { JsonPlace::Literal(member) } else { JsonPlace::Elsewhere }
            }
            (JsonPlace::Literal(member), _) => {
                self.end_value(member);
                self.follow(byte)
            }
            (JsonPlace::MemberName, b'"') => self.named().map_or(JsonPlace::Elsewhere, JsonPlace::AfterName),
            (JsonPlace::MemberName, b'\\') => self.keep_or(byte, JsonPlace::NameEscape, JsonPlace::Escape),
            (JsonPlace::MemberName | JsonPlace::NameEscape, _) => {
                self.keep_or(byte, JsonPlace::MemberName, JsonPlace::String)
            }
            (place, b' ' | b'\t' | b'\r' | b'\n') => place,
            (JsonPlace::Begin, b'{') => {
                self.depth = 1;
                JsonPlace::BeforeName
            }
            (JsonPlace::Begin, _) => JsonPlace::NoObject,
            (JsonPlace::BeforeName, b'"') => {
                self.text.clear();
                JsonPlace::MemberName
            }
            (JsonPlace::AfterName(member), b':') => JsonPlace::AfterName(member),
            (JsonPlace::AfterName(member), _) => self.begin_value(member, byte),
            (_, _) => self.follow(byte),
        };
    }

    /// What the member is watched for whose name was read, if it is.
    fn named(&self) -> Option<WatchedMember> {
        let name = &*unescaped(&self.text);
        let key = self.keys.as_ref().and_then(|keys| keys.named(name));
        let member = WatchedMember { is_stream: name == b"stream", is_model: name == b"model", key };
        (member != WatchedMember::default()).then_some(member)
    }

    fn begin_value(&mut self, member: WatchedMember, byte: u8) -> JsonPlace {
        self.text.clear();
        if member.is_stream {
            self.stream = match byte {
                b't' => Some(true),
                b'f' => Some(false),
                _ => None,
            };
        }
        if member.is_model {
            self.model = None;
        }
        match byte {
            b'"' if member.is_model || member.key.is_some() => JsonPlace::Text(member),
            b't' | b'f' | b'-' | b'0'..=b'9' if member.key.is_some() => {
                self.keep(byte);
                JsonPlace::Literal(member)
            }
            _ => self.follow(byte),
        }
    }

    /// Keeps a byte of a string; where it goes on from there, if there is room for it or not.
    fn keep_or(&mut self, byte: u8, kept: JsonPlace, too_long: JsonPlace) -> JsonPlace {
        if self.keep(byte) { kept } else { too_long }
    }

    /// Keeps a byte; returns whether all that was read is kept.
    fn keep(&mut self, byte: u8) -> bool {
        let has_room = self.text.len() < MAX_WRITTEN;
        match has_room {
            true => self.text.push(byte),
            false => self.text = Vec::new(),
        }
        has_room
    }

    fn end_value(&mut self, member: WatchedMember) {
        let written = std::mem::take(&mut self.text);
        if let (Some(key), Some(keys)) = (member.key, &mut self.keys) {
            let value = unescaped(&written);
            keys.set(key, if value.len() <= MAX_VALUE { &value } else { b"" });
        }
        if member.is_model && self.place == JsonPlace::Text(member) {
            self.model = Some(written.into());
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

/// What strings are compared by, their text (RFC 8259, 8.3); of what is no JSON, the bytes themselves.
fn unescaped(written: &[u8]) -> Cow<'_, [u8]> {
    match written.contains(&b'\\').then(|| text_of(written)).flatten() {
        Some(text) => text.into_bytes().into(),
        None => written.into(),
    }
}

/// The text that is written so between quotes. `None`: it is no JSON.
fn text_of(written: &[u8]) -> Option<String> {
    serde_json::from_slice(&[b"\"", written, b"\""].concat()).ok()
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
            (Some(true), r#"{"\u0073tr\u0065am":true}"#),
            (None, r#"{"\"stream":true,"\\":"stream","stream\"":true}"#),
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
        let (longest, longer) = ("m".repeat(MAX_VALUE), "m".repeat(MAX_VALUE + 1));
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
}
