//! Finds the line and column of a key or value in a YAML text.
//!
//! `serde_yaml` gives positions only in the errors of a deserializer. So a visitor deserializes the text again, walks to the
//! node and fails there on purpose. This runs only when there is a mistake to report.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::issue::{At, ConfigError, ConfigIssue, Step};

/// Returns the line and column, both from 1, of the node at `path` or of its key.
pub fn position(text: &str, path: &[Step], at: At) -> Option<(usize, usize)> {
    let error = Walk { path, at }.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    let location = error.location()?;
    Some((location.line(), location.column()))
}

/// Turns an error of the YAML parser into ours.
pub fn syntax_error(name: &str, text: &str, error: &serde_yaml::Error) -> ConfigError {
    let message = error.to_string();
    if let Some(line) = second_document(text).filter(|_| message.contains("more than one document")) {
        let remedy = "keep one of them: the configuration is one YAML document";
        let (place, problem) = (format!("{name}:{line}:1"), "a second document begins here".to_owned());
        return ConfigError::Mistakes(vec![ConfigIssue::syntax(place, problem, remedy)]);
    }
    // The parser's message ends with its position: as line and column, or in bytes if it refuses a character.
    let problem = message.split(" at line ").next().unwrap_or_default();
    let (problem, at) = match problem.split_once(" at position ") {
        Some((problem, bytes)) => {
            (problem, bytes.parse().ok().and_then(|bytes| line_and_column(text, bytes)))
        }
        None => (problem, error.location().map(|at| (at.line(), at.column()))),
    };
    let place = at.map_or_else(|| name.to_owned(), |(line, column)| format!("{name}:{line}:{column}"));
    let line = at.and_then(|(line, _)| text.lines().nth(line.checked_sub(1)?));
    let remedy = if line.is_some_and(|line| line.contains("${")) {
        "put the value with `${...}` in quotes: between `[ ]` or `{ }` its braces mean something else"
    } else {
        "correct the YAML; conf/sidestream.yaml shows every key in its place"
    };
    let problem = format!("this is not valid YAML: {problem}");
    ConfigError::Mistakes(vec![ConfigIssue::syntax(place, problem, remedy)])
}

/// The line, from 1, where a second document begins (YAML 1.2.2, 9.1). The parser does not tell it.
fn second_document(text: &str) -> Option<usize> {
    let is_marker =
        |line: &str, marker| line.split_whitespace().next() == Some(marker) && !line.starts_with(' ');
    let (mut has_begun, mut has_ended) = (false, false);
    for (index, line) in text.lines().enumerate() {
        let is_start = is_marker(line, "---");
        let is_end = is_marker(line, "...");
        let is_nothing =
            line.trim().is_empty() || line.trim_start().starts_with('#') || line.starts_with('%');
        if has_begun && (is_start || has_ended && !is_end && !is_nothing) {
            return Some(index + 1);
        }
        has_begun |= is_start || !is_end && !is_nothing;
        has_ended |= is_end && has_begun;
    }
    None
}

/// Line and column of a byte.
fn line_and_column(text: &str, bytes: usize) -> Option<(usize, usize)> {
    let before = text.get(..bytes)?;
    let column = before.rsplit('\n').next()?.chars().count() + 1;
    Some((before.matches('\n').count() + 1, column))
}

/// Walks along `path` and fails where it ends.
struct Walk<'a> {
    path: &'a [Step],
    at: At,
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
        let (at_key, mut repeats) = match self.at {
            At::Value => (false, false),
            At::Key => (rest.is_empty(), false),
            At::Repetition => (rest.is_empty(), rest.is_empty()),
        };
        while let Some(is_wanted) = map.next_key_seed(WantedKey { wanted, fail: at_key && !repeats })? {
            if is_wanted && !std::mem::take(&mut repeats) {
                return map.next_value_seed(Walk { path: rest, at: self.at });
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
        sequence.next_element_seed(Walk { path: rest, at: self.at })?;
        Ok(())
    }
}

/// Compares a key with the wanted one. Fails at it if the key is the place to report.
struct WantedKey<'a> {
    wanted: &'a str,
    fail: bool,
}

impl<'de> DeserializeSeed<'de> for WantedKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for WantedKey<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        if key == self.wanted && self.fail { Err(E::custom("found")) } else { Ok(key == self.wanted) }
    }
}

/// Fails at any node.
struct Here;

impl<'de> Visitor<'de> for Here {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every `visit_*` that is not overridden fails as "invalid type".
        f.write_str("something else")
    }
}
