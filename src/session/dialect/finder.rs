//! Searches JSON texts for members without parsing them.

use aho_corasick::packed::Searcher;
use aho_corasick::{AhoCorasick, Match};

/// A member to search for, by name and value.
#[derive(Clone, Copy, Debug)]
pub enum Member {
    /// With any value except null.
    Set(&'static str),
    /// With the value true.
    True(&'static str),
    /// With any value except 0.
    NotZero(&'static str),
}

/// Searches texts for several members in one pass.
pub struct Finder {
    /// `None`: there are no members.
    keys: Option<Words>,
    members: &'static [Member],
}

impl Finder {
    /// A finder for these members.
    pub fn new(members: &'static [Member]) -> Self {
        let keys = members.iter().map(|member| match member {
            Member::Set(key) | Member::True(key) | Member::NotZero(key) => format!("\"{key}\""),
        });
        Self { keys: Words::new(&keys.collect::<Vec<_>>()), members }
    }

    /// Whether an object in this text, at any depth, probably has one of the members.
    ///
    /// There are no false negatives, except for names written with escapes. False positives are rare: text inside a string
    /// does not match, because its quotes are escaped, but a name that ends with an escaped quote and this name does. So
    /// parse the text to be sure.
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

/// Searches texts for any of several words.
pub enum Words {
    /// With SIMD instructions, if the processor has them.
    Packed(Searcher),
    /// With an automaton.
    Automaton(AhoCorasick),
}

impl Words {
    /// A search for these words. `None`: there are no words.
    pub fn new(words: &[String]) -> Option<Self> {
        if words.is_empty() {
            return None;
        }
        // The automaton can only fail for an absurd number of words.
        let packed = Searcher::new(words).map(Self::Packed);
        packed.or_else(|| AhoCorasick::new(words).ok().map(Self::Automaton))
    }

    /// Whether the text contains one of the words.
    pub fn is_in(&self, text: &[u8]) -> bool {
        self.any(text, |_| true)
    }

    /// Whether the text contains a match for which `is_meant` returns true.
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
    fn members_are_found_and_text_in_strings_is_not() {
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
