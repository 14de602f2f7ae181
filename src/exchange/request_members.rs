//! Finds members of the JSON object in a request body: those that say what is requested, and those that
//! select the server. Sans-IO.

use std::borrow::Cow;

use memchr::memchr2;

use super::key_members::KeyMembers;

/// Longest text of a value, in bytes. Longer values are ignored.
const MAX_VALUE: usize = 256;

/// Longest written form of a name or value, in bytes. Each byte of the text may be written as `\u0061`.
const MAX_WRITTEN: usize = 6 * MAX_VALUE;

/// Finds the members `stream` and `model` of a request body, and [keys](Self::watch), while the body passes.
///
/// It tracks only strings and nesting. So no text in a prompt is taken for a member, and memory use does not
/// depend on the size of the body.
#[derive(Clone, Debug, Default)]
pub struct RequestMembers {
    depth: u32,
    place: JsonPlace,
    stream: Option<bool>,
    /// In written form, with escapes.
    model: Option<Box<[u8]>>,
    /// The written form of the current name or value, with escapes.
    text: Vec<u8>,
    keys: Option<Box<KeyMembers>>,
}

/// The state of the parser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum JsonPlace {
    /// Before the first byte that is not whitespace.
    #[default]
    Begin,
    /// In the outermost object, before the name of a member.
    BeforeName,
    /// In the name of a member.
    MemberName,
    /// After a backslash in a name.
    NameEscape,
    /// After the name; the colon and the value follow.
    AfterName(WatchedMember),
    /// In the string value of a watched member.
    Text(WatchedMember),
    /// After a backslash in such a value.
    TextEscape(WatchedMember),
    /// In a number, `true` or `false` that is the value of a key.
    Literal(WatchedMember),
    /// Elsewhere, outside strings.
    Elsewhere,
    String,
    /// After a backslash in a string.
    Escape,
    /// The body is not a JSON object, or the object has ended.
    NoObject,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct WatchedMember {
    is_stream: bool,
    is_model: bool,
    /// The index of the key with this name.
    key: Option<usize>,
}

impl RequestMembers {
    /// Also finds these keys, in the first `within` bytes of the body. Must be called before [`Self::push`].
    pub fn watch<'a>(&mut self, names: impl Iterator<Item = &'a str>, within: usize) {
        self.keys = Some(Box::new(KeyMembers::new(names, within)));
    }

    /// Whether the rest of the body may still decide which key comes first.
    pub fn seeks_key(&self) -> bool {
        self.place != JsonPlace::NoObject && self.keys.as_ref().is_some_and(|keys| keys.is_open())
    }

    /// The index and the text of the first key that has a value (a string, a number, true or false). Ends the
    /// search for keys.
    pub fn take_key(&mut self) -> Option<(usize, Box<[u8]>)> {
        self.keys.take()?.into_first()
    }

    /// Processes the next bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        let Some(keys) = &self.keys else { return self.follow_all(bytes) };
        // Split at the limit, so that the result does not depend on how the body arrives.
        let (near, far) = bytes.split_at(keys.reach(bytes.len()));
        self.follow_all(near);
        if let Some(keys) = &mut self.keys {
            keys.advance(near.len());
        }
        self.follow_all(far);
    }

    /// The value of `stream`. `None` if it is not a boolean or has not been read yet.
    pub fn stream(&self) -> Option<bool> {
        self.stream
    }

    /// The value of `model`, if it is a string.
    pub fn model(&self) -> Option<String> {
        text_of(self.model.as_deref()?).filter(|text| text.len() <= MAX_VALUE)
    }

    fn follow_all(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.place {
                JsonPlace::NoObject => return,
                // Most of a body is string content, so it skips to the end of the string.
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

    /// The watched member whose name was just read, if it is one.
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

    /// Keeps a byte of a string. Returns `kept` if there was room, else `too_long`.
    fn keep_or(&mut self, byte: u8, kept: JsonPlace, too_long: JsonPlace) -> JsonPlace {
        if self.keep(byte) { kept } else { too_long }
    }

    /// Keeps a byte. Returns false if the buffer was full.
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

    /// Tracks the nesting.
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

/// The text of a string, by which strings are compared (RFC 8259, 8.3); the bytes themselves if it is not
/// valid JSON.
fn unescaped(written: &[u8]) -> Cow<'_, [u8]> {
    match written.contains(&b'\\').then(|| text_of(written)).flatten() {
        Some(text) => text.into_bytes().into(),
        None => written.into(),
    }
}

/// The text of a string in written form. `None` if it is not valid JSON.
fn text_of(written: &[u8]) -> Option<String> {
    serde_json::from_slice(&[b"\"", written, b"\""].concat()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stream_member_of_the_outer_object_counts() {
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
    fn any_model_name_is_read() {
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
            // The members that follow are still found.
            let body = body.trim_end_matches('}').to_owned() + r#","stream":true}"#;
            assert!(model.is_none() || split_at(&body, 0).stream() == Some(true), "{body}");
        }
    }
}
