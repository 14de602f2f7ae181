//! Recognizes the dialect and the type of an event.

use std::sync::LazyLock;

use super::dialect::{self, Dialect, Seen, Words};
use super::event::Event;
use super::json;
use super::json_value::Json;

/// A set of dialects that can be recognized.
pub struct Dialects {
    all: &'static [&'static Dialect],
    /// Searches for the signs of all of them at once. `None`: there are none.
    signs: Option<Words>,
}

impl Dialects {
    /// These dialects. If several match an event, the first one counts.
    pub fn new(all: &'static [&'static Dialect]) -> Self {
        let signs = all.iter().flat_map(|dialect| dialect.signs).map(|sign| (*sign).to_owned());
        Self { all, signs: Words::new(&signs.collect::<Vec<_>>()) }
    }

    /// All dialects that sidestream knows.
    pub fn known() -> &'static Self {
        static KNOWN: LazyLock<Dialects> = LazyLock::new(|| Dialects::new(&dialect::ALL));
        &KNOWN
    }

    /// The dialect of an event, if the event reveals one, and the parsed data. `asked`: tried first, because the events of
    /// some dialects look alike.
    pub fn of<'e>(
        &self,
        event: &'e Event,
        asked: Option<&'static Dialect>,
    ) -> Option<(&'static Dialect, Json<'e>)> {
        let signs = self.signs.as_ref()?;
        if !json::may_be(&event.data) || (!signs.is_in(&event.data) && !signs.is_in(event.name)) {
            return None;
        }
        let data = json::read(&event.data)?;
        let kind = kind_by(event, &data, "type");
        let mut dialects = asked.into_iter().chain(self.all.iter().copied());
        let dialect = dialects.find(|dialect| (dialect.is_sign)(&Seen { kind, data: &data }))?;
        Some((dialect, data))
    }
}

/// The name of an event, unless it is the default name `message`.
fn name<'e>(event: &'e Event) -> Option<&'e [u8]> {
    Some(event.name).filter(|name| !name.is_empty() && *name != b"message")
}

/// Fast path: the type of an event from its name or from the first member of its data. `None`: the data must be parsed.
pub fn quick_kind<'e>(event: &'e Event, type_member: &str) -> Option<&'e [u8]> {
    if let Some(name) = name(event) {
        return Some(name);
    }
    let Some(members) = event.data.strip_prefix(b"{") else { return Some(b"") };
    let named = members
        .trim_ascii_start()
        .strip_prefix(b"\"")?
        .strip_prefix(type_member.as_bytes())?
        .strip_prefix(b"\"")?;
    let value = named.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    let end = memchr::memchr2(b'"', b'\\', value)?;
    (value[end] == b'"').then_some(&value[..end])
}

/// The type of an event with parsed data: its name, or else the value of `type_member`, or else empty.
pub fn kind_by<'e>(event: &'e Event, data: &'e Json, type_member: &str) -> &'e [u8] {
    let said = || data.get(type_member).and_then(Json::as_str).map(str::as_bytes);
    name(event).or_else(|| if type_member.is_empty() { None } else { said() }).unwrap_or_default()
}
