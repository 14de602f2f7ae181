//! Condenses JSON texts of any size into small ones that can be parsed.

use super::json;

/// The most bytes kept of a string.
const STRING: usize = 64;
/// The most elements kept of an array.
const ELEMENTS: u32 = 32;
/// The most members kept of a nested object. The outermost object keeps all of them.
const MEMBERS: u32 = 256;
/// Once the condensed text has more bytes than this, containers that open at depth [`DEEP`] or deeper are emptied.
const DEEP_TEXT: usize = 16 * 1024;
const DEEP: usize = 4;
/// The deepest nesting that can be parsed, as in serde_json.
const MAX_DEPTH: usize = 128;
/// The most bytes of a condensed text. If it would be larger, the event is unreadable.
const TEXT: usize = 64 * 1024;

/// The JSON is invalid, nested too deeply, or too large even when condensed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// Condenses one JSON text incrementally: truncates strings, arrays and nested objects, and empties deeply nested
/// containers if the text is large. Of data that is not a JSON object or array, only the first [`STRING`] bytes are kept.
#[derive(Debug, Default)]
pub struct Condenser {
    text: Vec<u8>,
    /// The open containers, outermost first.
    open: Vec<Container>,
    place: Place,
    /// Bytes kept of the open string.
    string: usize,
    /// The content of the open container at this depth is left out.
    left_out: Option<usize>,
    /// The outermost container has begun.
    has_begun: bool,
    is_too_deep: bool,
}

#[derive(Clone, Copy, Debug)]
struct Container {
    is_array: bool,
    elements: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Outside,
    String,
    /// After a backslash.
    Escape,
    /// In the digits of `\u`: the number of digits so far, and whether they begin a high surrogate.
    Unicode(u8, bool),
    /// After a high surrogate. The low surrogate must be kept too.
    HalfPair,
    /// In the truncated part of a string.
    Cut,
    /// There, after a backslash.
    CutEscape,
    /// The data is not a JSON object or array.
    Text,
}

impl Condenser {
    /// Reads the next bytes of the text.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            match self.place {
                Place::Text => {
                    let room = STRING.saturating_sub(self.text.len()).min(rest.len());
                    self.text.extend_from_slice(&rest[..room]);
                    return;
                }
                Place::Cut => {
                    let Some(at) = memchr::memchr2(b'"', b'\\', rest) else { return };
                    if rest[at] == b'"' {
                        self.keep(b'"');
                        self.place = Place::Outside;
                    } else {
                        self.place = Place::CutEscape;
                    }
                    rest = &rest[at + 1..];
                    continue;
                }
                Place::CutEscape => self.place = Place::Cut,
                Place::Outside => self.outside(byte),
                _ => self.in_string(byte),
            }
            rest = &rest[1..];
        }
    }

    fn outside(&mut self, byte: u8) {
        let depth = self.open.len();
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => return,
            b'{' | b'[' => return self.open(byte == b'[', byte),
            _ if !self.has_begun => self.place = Place::Text,
            b'}' | b']' => {
                self.open.pop();
                self.left_out = self.left_out.filter(|left_out| *left_out != depth);
            }
            b'"' => (self.place, self.string) = (Place::String, 0),
            b',' => {
                if let Some(container) = self.open.last_mut() {
                    container.elements += 1;
                    let most = match (container.is_array, depth) {
                        (true, _) => ELEMENTS,
                        (false, 1) => u32::MAX,
                        (false, _) => MEMBERS,
                    };
                    if container.elements >= most {
                        self.left_out = self.left_out.or(Some(depth));
                    }
                }
            }
            _ => {}
        }
        self.keep(byte);
    }

    fn open(&mut self, is_array: bool, byte: u8) {
        self.keep(byte);
        self.has_begun = true;
        if self.open.len() == MAX_DEPTH {
            self.is_too_deep = true;
            return;
        }
        self.open.push(Container { is_array, elements: 0 });
        if self.open.len() >= DEEP && self.text.len() > DEEP_TEXT {
            self.left_out = self.left_out.or(Some(self.open.len()));
        }
    }

    fn in_string(&mut self, byte: u8) {
        self.place = match (self.place, byte) {
            (Place::String | Place::HalfPair, b'"') => Place::Outside,
            // Truncate only at the beginning of a character.
            (Place::String, _) if self.string >= STRING && !(0x80..0xC0).contains(&byte) => {
                self.place = if byte == b'\\' { Place::CutEscape } else { Place::Cut };
                return;
            }
            (Place::String, b'\\') | (Place::HalfPair, b'\\') => Place::Escape,
            (Place::Escape, b'u') => Place::Unicode(0, false),
            (Place::Unicode(0, _), digit) => Place::Unicode(1, matches!(digit, b'd' | b'D')),
            (Place::Unicode(1, is_half), digit) => {
                Place::Unicode(2, is_half && matches!(digit, b'8'..=b'9' | b'a'..=b'b' | b'A'..=b'B'))
            }
            (Place::Unicode(3, true), _) => Place::HalfPair,
            (Place::Unicode(3, false), _) => Place::String,
            (Place::Unicode(digits, is_half), _) => Place::Unicode(digits + 1, is_half),
            _ => Place::String,
        };
        self.string += 1;
        self.keep(byte);
    }

    /// Adds a byte to the condensed text, unless its container is left out.
    fn keep(&mut self, byte: u8) {
        if self.left_out.is_none() && self.text.len() <= TEXT {
            self.text.push(byte);
        }
    }

    /// Whether the text is complete: valid JSON with all containers closed, or `[DONE]`.
    pub fn is_whole(&self) -> bool {
        match self.place {
            Place::Text => self.text.starts_with(b"[DONE]"),
            Place::Outside => self.has_begun && self.open.is_empty() && self.text().is_ok(),
            _ => false,
        }
    }

    /// The condensed text, which is a parsable JSON object or array, or the beginning of other data.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] if it is neither.
    pub fn text(&self) -> Result<&[u8], Unreadable> {
        let is_text = self.place == Place::Text || self.text.is_empty();
        let is_readable =
            is_text || (self.text.len() <= TEXT && !self.is_too_deep && json::read(&self.text).is_some());
        if is_readable { Ok(&self.text) } else { Err(Unreadable) }
    }
}
