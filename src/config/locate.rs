//! Finds the line and column of a key or value in a YAML text.
//!
//! `serde_yaml` gives positions only with the errors of a deserializer. So the text is deserialized once
//! more by a visitor that walks to the node in question and fails there on purpose. This runs only when there is
//! a mistake to report.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::mistake::{ConfigError, Mistake, Step};

/// Returns line and column, both from 1, of the node at `path`; of its key when `at_key`.
pub fn position(text: &str, path: &[Step], at_key: bool) -> Option<(usize, usize)> {
    let error = Walk { path, at_key }.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    let location = error.location()?;
    Some((location.line(), location.column()))
}

/// Turns an error of the YAML parser into ours.
pub fn syntax_error(name: &str, error: &serde_yaml::Error) -> ConfigError {
    let place = match error.location() {
        Some(at) => format!("{name}:{}:{}", at.line(), at.column()),
        None => name.to_owned(),
    };
    // The parser's message ends in the position that already stands in front.
    let message = error.to_string();
    let problem = message.split(" at line ").next().unwrap_or_default();
    ConfigError::Mistakes(vec![Mistake::syntax(place, format!("this is not valid YAML: {problem}"))])
}

/// Walks along `path` and fails where it ends.
struct Walk<'a> {
    path: &'a [Step],
    at_key: bool,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.path.is_empty() {
            deserializer.deserialize_any(Here)
        } else {
            deserializer.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the node that holds a mistake")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Step::Key(wanted), rest)) = self.path.split_first() else {
            return Err(A::Error::custom("found"));
        };
        let fail_at_key = self.at_key && rest.is_empty();
        while let Some(is_wanted) = map.next_key_seed(Key { wanted, fail: fail_at_key })? {
            if is_wanted {
                return map.next_value_seed(Walk { path: rest, at_key: self.at_key });
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let Some((Step::Index(wanted), rest)) = self.path.split_first() else {
            return Err(A::Error::custom("found"));
        };
        for _ in 0..*wanted {
            sequence.next_element::<IgnoredAny>()?;
        }
        sequence.next_element_seed(Walk { path: rest, at_key: self.at_key })?;
        Ok(())
    }
}

/// Compares a key with the wanted one, and fails at it if that is the place to report.
struct Key<'a> {
    wanted: &'a str,
    fail: bool,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        if key == self.wanted && self.fail { Err(E::custom("found")) } else { Ok(key == self.wanted) }
    }

    fn visit_bool<E: Error>(self, key: bool) -> Result<bool, E> {
        self.visit_str(&key.to_string())
    }

    fn visit_i64<E: Error>(self, key: i64) -> Result<bool, E> {
        self.visit_str(&key.to_string())
    }

    fn visit_u64<E: Error>(self, key: u64) -> Result<bool, E> {
        self.visit_str(&key.to_string())
    }

    fn visit_f64<E: Error>(self, key: f64) -> Result<bool, E> {
        self.visit_str(&key.to_string())
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        self.visit_str("null")
    }
}

/// Fails at whatever node it is shown.
struct Here;

impl<'de> Visitor<'de> for Here {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every visit_* that is not overridden fails as "invalid type", which is all that is wanted.
        f.write_str("something else")
    }
}
