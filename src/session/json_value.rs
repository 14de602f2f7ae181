//! A JSON value that borrows from the text of an event.
//!
//! `serde_json::Value` hashes each name and copies each string. Most events have few members and are read only once, so
//! a list of borrowed members is cheaper.

use std::borrow::Cow;
use std::fmt;
use std::ops::Index;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// A JSON value. Strings without escapes are borrowed from the text.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string, without its escapes.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Json<'a>>),
    /// The members in the order of the text. Of several with the same name, the last counts.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

static NULL: Json<'static> = Json::Null;

impl<'a> Json<'a> {
    /// The member with this name, if this is an object that has one.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let mut members = self.as_object()?.iter().rev();
        members.find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// The members, if this is an object.
    pub fn as_object(&self) -> Option<&[(Cow<'a, str>, Self)]> {
        if let Self::Object(members) = self { Some(members) } else { None }
    }

    /// The elements, if this is an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The number, if this is an integer that fits.
    pub fn as_u64(&self) -> Option<u64> {
        if let Self::Number(number) = self { number.as_u64() } else { None }
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether this is `true` or `false`.
    pub fn is_boolean(&self) -> bool {
        matches!(self, Self::Bool(_))
    }

    /// Whether this is a number.
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Number(_))
    }

    /// Whether this is a string.
    pub fn is_string(&self) -> bool {
        matches!(self, Self::String(_))
    }

    /// Whether this is an object.
    pub fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    /// A copy that borrows nothing.
    pub fn into_owned(self) -> Json<'static> {
        let owned = |text: Cow<str>| Cow::Owned(text.into_owned());
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(value),
            Self::Number(number) => Json::Number(number),
            Self::String(text) => Json::String(owned(text)),
            Self::Array(items) => Json::Array(items.into_iter().map(Json::into_owned).collect()),
            Self::Object(members) => {
                let members = members.into_iter().map(|(name, value)| (owned(name), value.into_owned()));
                Json::Object(members.collect())
            }
        }
    }

    /// The equivalent `serde_json` value, for serialization.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(number) => Value::Number(number.clone()),
            Self::String(text) => Value::from(&**text),
            Self::Array(items) => items.iter().map(Self::to_value).collect(),
            Self::Object(members) => {
                members.iter().map(|(name, value)| (name.to_string(), value.to_value())).collect()
            }
        }
    }
}

/// The member with this name, or null.
impl<'a> Index<&str> for Json<'a> {
    type Output = Json<'a>;

    fn index(&self, name: &str) -> &Json<'a> {
        self.get(name).unwrap_or(&NULL)
    }
}

impl PartialEq<&str> for Json<'_> {
    fn eq(&self, text: &&str) -> bool {
        self.as_str() == Some(text)
    }
}

impl PartialEq<bool> for Json<'_> {
    fn eq(&self, value: &bool) -> bool {
        matches!(self, Self::Bool(own) if own == value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let mut members = Vec::new();
        // Reading the names as values borrows them where possible. They are always strings.
        while let Some(Json::String(name)) = map.next_key()? {
            members.push((name, map.next_value()?));
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Json<'_> {
        serde_json::from_str(text).unwrap_or(Json::Null)
    }

    #[test]
    fn values_are_the_same_as_in_serde_json() {
        let text = r#"{"a":[null,true,1,-2,1.5,"x","\n\"",{"b":{}}],"\u0063":18446744073709551615}"#;
        let json = read(text);
        assert_eq!(Some(json.to_value()), serde_json::from_str(text).ok());
        assert_eq!(json.clone().into_owned(), json);
        assert_eq!(json["c"].as_u64(), Some(u64::MAX));
        assert_eq!(json["a"].as_array().map(<[_]>::len), Some(8));
        assert!(json["d"]["e"].is_null() && json["a"]["b"].is_null());
    }

    #[test]
    fn the_last_of_several_members_with_the_same_name_counts() {
        assert!(read(r#"{"a":1,"b":2,"a":"last"}"#)["a"] == "last");
    }

    #[test]
    fn strings_without_escapes_are_borrowed() {
        let json = read(r#"{"a":"b"}"#);
        let Some([(Cow::Borrowed("a"), Json::String(Cow::Borrowed("b")))]) = json.as_object() else {
            panic!("copied: {json:?}")
        };
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_as_by_serde_json(
            noise in prop::collection::vec((0_usize..100, any::<u8>()), 0..4),
        ) {
            let mut text = br#"{"a":[null,true,1,-2,1.5e3,"x",{"b":{}}],"b":"\n\u00e9","a":[ ]}"#.to_vec();
            for (at, byte) in noise {
                let at = at % text.len();
                text[at] = byte;
            }
            let ours = serde_json::from_slice::<Json>(&text).ok().map(|json| json.to_value());
            prop_assert_eq!(ours, serde_json::from_slice(&text).ok());
        }
    }
}
