//! The fields of a head (RFC 9112, 5).

use std::ops::Range;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Malformed;

/// The fields of a head, in order and with their names in the original case. All bytes are in one allocation, and a
/// lookup by name is a linear search.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    fields: Vec<Field>,
}

/// The position of a field in the bytes. Uses `u32` to halve the memory, because every running request keeps its fields.
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
        // Limits on the size of heads rule out positions beyond `u32`. A saturated span reads as empty.
        let bound = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: bound(range.start), end: bound(range.end) }
    }
}

impl Field {
    /// A field in a line that begins at `start`; `name` and `value` are relative to the line.
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

    /// The end of the value.
    pub(super) fn end(&self) -> usize {
        self.value.range().end.max(self.name.range().end)
    }
}

impl Fields {
    /// No fields, with capacity for this number of bytes and fields.
    pub fn with_capacity(bytes: usize, fields: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), fields: Vec::with_capacity(fields) }
    }

    /// Copies the fields at these positions in `bytes`.
    pub(super) fn at(bytes: &[u8], fields: &[Field]) -> Self {
        Self { bytes: bytes.to_vec(), fields: fields.to_vec() }
    }

    /// Copies fields whose names and values are slices of `bytes`, with spare capacity for a few more. Replaces line folds
    /// by spaces.
    pub(super) fn within(bytes: &[u8], fields: &[httparse::Header<'_>]) -> Result<Self, Malformed> {
        const MORE_BYTES: usize = 256;
        const MORE_FIELDS: usize = 8;
        let mut within = Self::with_capacity(bytes.len() + MORE_BYTES, fields.len() + MORE_FIELDS);
        within.bytes.extend_from_slice(bytes);
        for field in fields {
            // No other implementation accepts a name of this length.
            if field.name.len() > usize::from(u16::MAX) {
                return Err(Malformed);
            }
            let name = position(bytes, field.name.as_bytes());
            let value = position(bytes, field.value);
            // RFC 9112, 5.2: a recipient replaces a line fold by spaces.
            within.bytes[value.clone()].iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')).for_each(
                |byte| {
                    *byte = b' ';
                },
            );
            within.fields.push(Field { name: name.into(), value: value.into() });
        }
        Ok(within)
    }

    /// All names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|field| (field.name(&self.bytes), field.value(&self.bytes)))
    }

    /// The values of all fields with this name, in any case.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.iter().filter(move |(other, _)| is_same(other, name)).map(|(_, value)| value)
    }

    /// The value of the first field with this name.
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// Whether there is a field with this name.
    pub fn contains(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Adds a field at the end. The name must be a token, and the value must not contain line ends.
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

    /// Removes all fields with this name, and adds this one at the end.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.remove(name);
        self.append(name, value);
    }

    /// Removes all fields with this name.
    pub fn remove(&mut self, name: &str) {
        self.retain(|other| !is_same(other, name));
    }

    /// Removes the fields for whose name `is_kept` returns false.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&[u8]) -> bool) {
        let Self { bytes, fields } = self;
        fields.retain(|field| is_kept(field.name(bytes)));
    }

    /// Appends the fields in the format of HTTP/1.1, with the empty line that ends them.
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

/// Skips fields that are not valid in HTTP/2.
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

/// The position of `piece`, which is a slice of `whole`. An empty one is at 0, since its address may be outside.
fn position(whole: &[u8], piece: &[u8]) -> Range<usize> {
    let start = piece.as_ptr().addr().checked_sub(whole.as_ptr().addr()).filter(|_| !piece.is_empty());
    start.map_or(0..0, |start| start..start + piece.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_leaves_one_field_with_that_name() {
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
