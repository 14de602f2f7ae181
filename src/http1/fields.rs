//! The fields of a head (RFC 9112, 5): in their order, with names as they were written, looked through by name, and all their
//! bytes in one place.

use std::ops::Range;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Malformed;

#[derive(Clone, Debug, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    fields: Vec<Field>,
}

/// Where in the bytes a field is. Half as large as ranges of `usize` would be, because each request that runs has some.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Field {
    pub(super) name: Span,
    value: Span,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.range()).unwrap_or_default()
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        // No head is that large: what does not fit is empty.
        let bound = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: bound(range.start), end: bound(range.end) }
    }
}

impl Field {
    /// A field of a line that begins at `start`.
    pub(super) fn at(start: usize, name: Range<usize>, value: Range<usize>) -> Self {
        let within = |range: Range<usize>| Span::from(start + range.start..start + range.end);
        Self { name: within(name), value: within(value) }
    }

    pub(super) fn name<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.name.of(bytes)
    }

    pub(super) fn value<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.value.of(bytes)
    }

    /// Where its value ends.
    pub(super) fn end(&self) -> usize {
        self.value.range().end.max(self.name.range().end)
    }
}

impl Fields {
    /// With room for so many bytes and fields.
    pub fn with_capacity(bytes: usize, fields: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), fields: Vec::with_capacity(fields) }
    }

    /// The fields that are at these places of `bytes`.
    pub(super) fn at(bytes: &[u8], fields: &[Field]) -> Self {
        Self { bytes: bytes.to_vec(), fields: fields.to_vec() }
    }

    /// The names and values that are somewhere in `bytes`, with room for some more.
    pub(super) fn within(bytes: &[u8], fields: &[httparse::Header<'_>]) -> Result<Self, Malformed> {
        const MORE_BYTES: usize = 256;
        const MORE_FIELDS: usize = 8;
        let mut within = Self::with_capacity(bytes.len() + MORE_BYTES, fields.len() + MORE_FIELDS);
        within.bytes.extend_from_slice(bytes);
        for field in fields {
            // What no other implementation takes for a name.
            if field.name.len() > usize::from(u16::MAX) {
                return Err(Malformed);
            }
            let name = position(bytes, field.name.as_bytes());
            let value = position(bytes, field.value);
            // RFC 9112, 5.2: line folds become spaces.
            within.bytes[value.clone()].iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')).for_each(
                |byte| {
                    *byte = b' ';
                },
            );
            within.fields.push(Field { name: name.into(), value: value.into() });
        }
        Ok(within)
    }

    /// Names and values in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|field| (field.name(&self.bytes), field.value(&self.bytes)))
    }

    /// The values of all fields of this name.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.iter().filter(move |(other, _)| is_same(other, name)).map(|(_, value)| value)
    }

    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.values(name).next()
    }

    pub fn contains(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Adds a field at the end. The name must be a token, and the value without line ends.
    pub fn append(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let name = self.keep(name.as_ref());
        let value = self.keep(value.as_ref());
        self.fields.push(Field { name, value });
    }

    fn keep(&mut self, bytes: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        (start..self.bytes.len()).into()
    }

    /// Makes this the only field of its name.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.remove(name);
        self.append(name, value);
    }

    pub fn remove(&mut self, name: &str) {
        self.retain(|other| !is_same(other, name));
    }

    /// Keeps the fields whose name is wanted.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&[u8]) -> bool) {
        let Self { bytes, fields } = self;
        fields.retain(|field| is_kept(field.name(bytes)));
    }

    /// Adds the fields as they go over HTTP/1.1, with the line that ends them.
    pub(super) fn write_to(&self, wire: &mut Vec<u8>) {
        wire.reserve(self.bytes.len() + 4 * self.fields.len() + 2);
        for (name, value) in self.iter() {
            for piece in [name, b": ", value, b"\r\n"] {
                wire.extend_from_slice(piece);
            }
        }
        wire.extend_from_slice(b"\r\n");
    }
}

/// Those that can be written over HTTP/2.
impl From<&Fields> for HeaderMap {
    fn from(fields: &Fields) -> Self {
        let known = |(name, value): (&[u8], &[u8])| {
            Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
        };
        let mut map = Self::new();
        fields.iter().filter_map(known).for_each(|(name, value)| {
            map.append(name, value);
        });
        map
    }
}

impl From<&HeaderMap> for Fields {
    fn from(map: &HeaderMap) -> Self {
        let mut fields = Self::default();
        map.iter().for_each(|(name, value)| fields.append(name.as_str(), value));
        fields
    }
}

fn is_same(name: &[u8], other: &str) -> bool {
    name.eq_ignore_ascii_case(other.as_bytes())
}

/// Where in the whole a piece of it is. One of no length may be anywhere.
fn position(whole: &[u8], piece: &[u8]) -> Range<usize> {
    let start = piece.as_ptr().addr().checked_sub(whole.as_ptr().addr()).filter(|_| !piece.is_empty());
    start.map_or(0..0, |start| start..start + piece.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_set_is_the_only_one_of_its_name() {
        let mut fields = Fields::default();
        for (name, value) in [("Host", "a"), ("Cookie", "a=1"), ("cookie", "b=2")] {
            fields.append(name, value);
        }
        assert_eq!(fields.values("COOKIE").collect::<Vec<_>>(), [b"a=1", b"b=2"]);
        assert_eq!((fields.value("host"), fields.value("hos")), (Some(&b"a"[..]), None));
        fields.set("COOKIE", "c=3");
        assert_eq!(fields.values("cookie").collect::<Vec<_>>(), [b"c=3"]);
        fields.remove("Cookie");
        assert!(!fields.contains("cookie") && fields.contains("host"));
        assert_eq!(fields.iter().count(), 1);
    }
}
