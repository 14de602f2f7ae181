//! Closed sets of words.

use super::{Parsed, Problem, ValueKind, ValueShape, is_off, or_off, quoted};
use crate::config::tree::Value;

/// A type whose values have words in the file.
pub trait Word: PartialEq + Sized + 'static {
    /// Words that a later version may know. Their message says that they are not supported yet.
    const LATER: &'static [&'static str] = &[];

    /// A word for each value, in the order of the documentation.
    fn words() -> Vec<(&'static str, Self)>;
}

/// The kind of value that is one of the words of `T`.
pub const fn word<T: Word>() -> ValueKind<T> {
    ValueKind { name: "word", shape: ValueShape::Words(names::<T>), read: read::<T>, show: show::<T> }
}

fn names<T: Word>() -> Vec<&'static str> {
    T::words().into_iter().map(|(word, _)| word).collect()
}

fn read<T: Word>(value: &Value) -> Parsed<T> {
    one_of(value, T::words(), T::LATER)
}

fn show<T: Word>(value: &T) -> String {
    word_for(T::words(), value).to_owned()
}

/// The word of a value. Every value has one.
pub fn word_for<T: PartialEq>(words: Vec<(&'static str, T)>, value: &T) -> &'static str {
    words.into_iter().find(|(_, meaning)| meaning == value).map_or("auto", |(word, _)| word)
}

/// Reads one of these words. `later` are those that a later version may know.
pub fn one_of<T>(value: &Value, words: Vec<(&'static str, T)>, later: &[&str]) -> Parsed<T> {
    let text = if is_off(value) { "off" } else { value.text().unwrap_or_default() };
    let list = words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
    let has_off = words.iter().any(|(word, _)| *word == "off");
    if let Some((_, meaning)) = words.into_iter().find(|(word, _)| *word == text) {
        return Ok(meaning);
    }
    let remedy = format!("write {list}");
    if later.contains(&text) {
        return Err(Problem::new(format!("{} is not supported yet", quoted(value)), remedy));
    }
    let problem = Problem::not(value, "a word that is known here", &remedy);
    Err(if has_off { or_off(value, problem) } else { problem })
}
