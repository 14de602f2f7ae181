//! Looks into JSON texts without parsing them.

use memchr::memmem::Finder;

/// A key that is looked for in many texts.
pub struct Key(Finder<'static>);

impl Key {
    /// `quoted`: the key with its quotes.
    pub fn new(quoted: &'static str) -> Self {
        Self(Finder::new(quoted))
    }

    /// Whether an object somewhere in this text most likely has this key, with a value other than null.
    ///
    /// Never misses one that is written without escapes. Text inside a string cannot pass for a key, because its
    /// quotes are escaped; an odd key that ends in this one can, so what matters is parsed after this.
    pub fn may_be_set_in(&self, json: &[u8]) -> bool {
        self.values(json).any(|value| !value.starts_with(b"null"))
    }

    /// Whether this key most likely has the value true.
    pub fn may_be_true_in(&self, json: &[u8]) -> bool {
        self.values(json).any(|value| value.starts_with(b"true"))
    }

    /// Whether this key most likely has an empty array for its value.
    pub fn may_be_empty_in(&self, json: &[u8]) -> bool {
        let is_empty =
            |value: &[u8]| value.strip_prefix(b"[").is_some_and(|v| v.trim_ascii_start().starts_with(b"]"));
        self.values(json).any(is_empty)
    }

    /// The texts from the beginning of each value on.
    fn values<'j>(&self, json: &'j [u8]) -> impl Iterator<Item = &'j [u8]> {
        let length = self.0.needle().len();
        let after_keys = self.0.find_iter(json).map(move |at| &json[at + length..]);
        after_keys.filter_map(|rest| rest.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_and_text_is_not_taken_for_them() {
        let key = Key::new("\"error\"");
        for set in [r#"{"error":{}}"#, r#"{"a":[{"error" : 1}]}"#, r#"{"error":null,"b":{"error":true}}"#] {
            assert!(key.may_be_set_in(set.as_bytes()), "{set}");
        }
        for unset in [
            r#"{"error":null}"#,
            r#"{"error" : null}"#,
            r#"{"content":"\"error\":1"}"#,
            r#"{"content":"error"}"#,
            r#"{"content":"say \"error"}"#,
            r#"{"a":"error","b":1}"#,
        ] {
            assert!(!key.may_be_set_in(unset.as_bytes()), "{unset}");
        }
        assert!(Key::new("\"choices\"").may_be_empty_in(br#"{"choices": [ ]}"#));
        assert!(!Key::new("\"choices\"").may_be_empty_in(br#"{"choices":[{}]}"#));
    }
}
