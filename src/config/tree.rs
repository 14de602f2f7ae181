//! The tree of a YAML file, before its keys are interpreted.
//!
//! The tree of `serde_yaml` refuses repeated keys without their place, and cannot mark values that came from the environment. It
//! also loses the spelling of numbers: `1.50` becomes 1.5 and `0x1F` becomes 31. A header or the name of a model needs `1.50`.

use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

/// A node of the tree.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    /// A number or a boolean without quotes, as the file spells it.
    Plain(String),
    String(String),
    /// A string with environment variables. Messages show `written` only, because `text` may hold a secret.
    Expanded {
        written: String,
        text: String,
    },
    List(Vec<Value>),
    /// In the order of the file. Keys may repeat until the tree is resolved.
    Mapping(Vec<(String, Value)>),
    /// A value with a mistake that was reported.
    Unusable,
}

/// Parses the text of a file.
pub fn parse(text: &str) -> Result<Value, serde_yaml::Error> {
    let mut value = serde_yaml::from_str(text)?;
    Spelling(&mut value).deserialize(serde_yaml::Deserializer::from_str(text))?;
    Ok(value)
}

impl Value {
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::Expanded { text, .. } => Some(text),
            _ => None,
        }
    }

    /// A scalar as text: YAML reads `15` as a number and `true` as a boolean.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Plain(spelling) => Some(spelling),
            other => other.as_str(),
        }
    }

    /// A boolean, in quotes or not. Variables and templates often give a string.
    pub fn as_bool(&self) -> Option<bool> {
        match self.text()? {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        }
    }

    /// A number from 0, in quotes or not.
    pub fn as_count(&self) -> Option<usize> {
        self.text().filter(|text| is_decimal(text))?.parse().ok()
    }

    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }
}

/// Whether a text is a decimal number without a leading zero. YAML 1.1 reads `010` as 8, YAML 1.2 as 10.
pub fn is_decimal(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() && (text == "0" || !text.starts_with('0'))
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value of YAML")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    /// An empty file.
    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Plain(value.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Plain(number.to_string()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Plain(number.to_string()))
    }

    fn visit_u128<E: Error>(self, number: u128) -> Result<Value, E> {
        Ok(Value::Plain(number.to_string()))
    }

    fn visit_i128<E: Error>(self, number: i128) -> Result<Value, E> {
        Ok(Value::Plain(number.to_string()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Plain(number.to_string()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(KeyText(key)) = map.next_key()? {
            entries.push((key, map.next_value()?));
        }
        Ok(Value::Mapping(entries))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(A::Error::custom("a tag, such as `!this`, means nothing here"))
    }
}

/// A key of a mapping: any scalar, as the file spells it.
pub struct KeyText(pub String);

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor).map(Self)
    }
}

/// Takes the text of a scalar. `serde_yaml` does not interpret a scalar that is asked for as a string.
struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a single word")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

/// Reads the same text once more, and gives each number and boolean of its tree the spelling of the file.
struct Spelling<'a>(&'a mut Value);

impl<'de> DeserializeSeed<'de> for Spelling<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.0 {
            Value::Plain(spelling) => {
                *spelling = deserializer.deserialize_str(TextVisitor)?;
                Ok(())
            }
            Value::List(_) | Value::Mapping(_) => deserializer.deserialize_any(self),
            _ => deserializer.deserialize_ignored_any(IgnoredAny).map(drop),
        }
    }
}

impl<'de> Visitor<'de> for Spelling<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the same tree as before")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        if let Value::List(items) = self.0 {
            for item in items {
                sequence.next_element_seed(Spelling(item))?;
            }
        }
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if let Value::Mapping(entries) = self.0 {
            for (_, value) in entries {
                map.next_key::<IgnoredAny>()?;
                map.next_value_seed(Spelling(value))?;
            }
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}
