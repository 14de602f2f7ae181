//! Shortens JSON texts of any size while they pass, so that what is left can be read.

use super::json;

/// Bytes that are kept of a string.
const STRING: usize = 64;
/// Elements that are kept of an array, and members of an object that is not the outermost one.
const ELEMENTS: u32 = 32;
const MEMBERS: u32 = 256;
/// Bytes of the shortened text from which on nothing more is kept of what is nested this deep.
const DEEP_TEXT: usize = 16 * 1024;
const DEEP: usize = 4;
/// How deep JSON may be nested so that it can be read (as for serde_json).
const MAX_DEPTH: usize = 128;
/// Bytes of the shortened text at which the event counts as one that cannot be read.
const TEXT: usize = 64 * 1024;
/// Its JSON is broken, or too wide to be kept even where all that is long is cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// Shortens a JSON text as it passes: strings and arrays are cut, and what is nested deep is left out when there is much of it.
/// What is no JSON object or array is kept as far as its beginning.
#[derive(Debug, Default)]
pub struct Condenser {
    text: Vec<u8>,
    /// Of each container that is open, whether it is an array and how many elements it has had.
    open: Vec<Container>,
    place: Place,
    /// Bytes of the string that is open.
    string: usize,
    /// What is inside of the open container of this depth is left out.
    left_out: Option<usize>,
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
    /// In the digits of `\u`: how many have come, and whether it is the first half of a pair so far.
    Unicode(u8, bool),
    /// After the first half of a pair, whose second half must follow.
    HalfPair,
    /// The rest of a string that is too long.
    Cut,
    CutEscape,
    /// It is no JSON object or array.
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
            // A character is never cut in two.
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

    /// Adds a byte to the shortened text, unless it is in what is left out.
    fn keep(&mut self, byte: u8) {
        if self.left_out.is_none() && self.text.len() <= TEXT {
            self.text.push(byte);
        }
    }

    /// Whether nothing is open.
    pub fn is_whole(&self) -> bool {
        match self.place {
            Place::Text => self.text.starts_with(b"[DONE]"),
            Place::Outside => self.has_begun && self.open.is_empty() && self.text().is_ok(),
            _ => false,
        }
    }

    /// The shortened text.
    pub fn text(&self) -> Result<&[u8], Unreadable> {
        let is_text = self.place == Place::Text || self.text.is_empty();
        let is_readable =
            is_text || (self.text.len() <= TEXT && !self.is_too_deep && json::read(&self.text).is_some());
        if is_readable { Ok(&self.text) } else { Err(Unreadable) }
    }
}
