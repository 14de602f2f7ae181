//! Looks into JSON texts without parsing them.

use aho_corasick::packed::Searcher;
use aho_corasick::{AhoCorasick, Match};

/// What is looked for in an event.
#[derive(Clone, Copy, Debug)]
pub enum Member {
    /// A member with a value other than null.
    Set(&'static str),
    /// A member that is true.
    True(&'static str),
    /// A member that is anything but 0.
    NotZero(&'static str),
}

/// Finds members in many texts, all of them in one pass.
pub struct Finder {
    /// `None`: there are none.
    keys: Option<Words>,
    members: &'static [Member],
}

impl Finder {
    pub fn new(members: &'static [Member]) -> Self {
        let keys = members.iter().map(|member| match member {
            Member::Set(key) | Member::True(key) | Member::NotZero(key) => format!("\"{key}\""),
        });
        Self { keys: Words::new(&keys.collect::<Vec<_>>()), members }
    }

    /// Whether an object somewhere in this text most likely has one of the members.
    ///
    /// Never misses one that is written without escapes. Text inside a string cannot pass for a key, because its
    /// quotes are escaped; an odd key that ends in this one can, so what matters is parsed after this.
    pub fn finds_any(&self, json: &[u8]) -> bool {
        let Some(keys) = &self.keys else { return false };
        keys.any(json, |found| {
            let rest = json[found.end()..].trim_ascii_start().strip_prefix(b":");
            let Some(value) = rest.map(<[u8]>::trim_ascii_start) else { return false };
            match self.members.get(found.pattern().as_usize()) {
                Some(Member::Set(_)) => !value.starts_with(b"null"),
                Some(Member::True(_)) => value.starts_with(b"true"),
                Some(Member::NotZero(_)) => {
                    !(value.starts_with(b"0") && matches!(value.get(1), Some(b',' | b'}' | b' ' | b'\n')))
                }
                None => false,
            }
        })
    }
}

/// Finds any of several words.
pub enum Words {
    /// Many bytes at once, where the processor can do that.
    Packed(Searcher),
    Automaton(AhoCorasick),
}

impl Words {
    /// `None` if there are none.
    pub fn new(words: &[String]) -> Option<Self> {
        if words.is_empty() {
            return None;
        }
        // Only an amount of words that nobody writes down is too much for the automaton.
        let packed = Searcher::new(words).map(Self::Packed);
        packed.or_else(|| AhoCorasick::new(words).ok().map(Self::Automaton))
    }

    pub fn is_in(&self, text: &[u8]) -> bool {
        self.any(text, |_| true)
    }

    /// Whether there is a word in this text that is meant.
    fn any(&self, text: &[u8], is_meant: impl FnMut(Match) -> bool) -> bool {
        match self {
            Self::Packed(searcher) => searcher.find_iter(text).any(is_meant),
            Self::Automaton(automaton) => automaton.find_iter(text).any(is_meant),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_and_text_is_not_taken_for_them() {
        let finder = Finder::new(&[Member::Set("error"), Member::True("done"), Member::NotZero("index")]);
        for found in [
            r#"{"error":{}}"#,
            r#"{"a":[{"error" : 1}]}"#,
            r#"{"error":null,"b":{"error":true}}"#,
            r#"{"done": true}"#,
            r#"{"index":1}"#,
            r#"{"index":0,"a":{"index": 10}}"#,
        ] {
            assert!(finder.finds_any(found.as_bytes()), "{found}");
        }
        for other in [
            r#"{"error":null}"#,
            r#"{"error" : null}"#,
            r#"{"content":"\"error\":1"}"#,
            r#"{"content":"error"}"#,
            r#"{"content":"say \"error"}"#,
            r#"{"a":"error","b":1}"#,
            r#"{"done":false}"#,
            r#"{"index":0,"b":{"index": 0}}"#,
        ] {
            assert!(!finder.finds_any(other.as_bytes()), "{other}");
        }
        assert!(!Finder::new(&[]).finds_any(b"{}"));
    }
}
