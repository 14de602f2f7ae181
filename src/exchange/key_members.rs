//! The members of a request body that select its server. Sans-IO.

/// The keys found so far. [`RequestMembers`](super::RequestMembers) finds them.
#[derive(Clone, Debug)]
pub struct KeyMembers {
    names: Vec<Box<[u8]>>,
    /// The text of strings, without quotes.
    values: Vec<Option<Box<[u8]>>>,
    /// Number of body bytes that remain to be searched.
    left: usize,
}

impl KeyMembers {
    pub fn new<'a>(names: impl Iterator<Item = &'a str>, within: usize) -> Self {
        let names: Vec<Box<[u8]>> = names.map(|name| name.as_bytes().into()).collect();
        Self { values: vec![None; names.len()], names, left: within }
    }

    /// Whether a key of higher priority than those found may still occur.
    pub fn is_open(&self) -> bool {
        self.left > 0 && self.values.first().is_some_and(Option::is_none)
    }

    /// The first key with a value.
    pub fn into_first(self) -> Option<(usize, Box<[u8]>)> {
        self.values.into_iter().enumerate().find_map(|(index, value)| Some((index, value?)))
    }

    /// How many of the next `length` bytes are searched.
    pub fn reach(&self, length: usize) -> usize {
        self.left.min(length)
    }

    /// Counts bytes as searched. Must be within [`Self::reach`].
    pub fn advance(&mut self, length: usize) {
        self.left = self.left.saturating_sub(length);
    }

    /// The index of the key with this name.
    pub fn named(&self, name: &[u8]) -> Option<usize> {
        self.names.iter().position(|one| **one == *name)
    }

    /// Sets the value of a key. The first value counts. Empty values and values that end too late are
    /// ignored.
    pub fn set(&mut self, index: usize, value: &[u8]) {
        if self.left > 0
            && !value.is_empty()
            && let Some(place @ None) = self.values.get_mut(index)
        {
            *place = Some(value.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RequestMembers;

    /// The key found in a body that arrives in two pieces.
    fn found(names: &[&str], within: usize, body: &str, split: usize) -> Option<(usize, String)> {
        let mut members = RequestMembers::default();
        members.watch(names.iter().copied(), within);
        members.push(&body.as_bytes()[..split]);
        members.push(&body.as_bytes()[split..]);
        members.take_key().map(|(index, value)| (index, String::from_utf8_lossy(&value).into_owned()))
    }

    #[test]
    fn the_first_key_with_a_value_is_found_at_any_split() {
        let (longest, longer) = ("k".repeat(256), "k".repeat(257));
        for (value, body) in [
            (Some((0, "a")), r#"{"prompt_cache_key":"a","stream":true}"#.to_owned()),
            (Some((0, "a")), r#"{"user":"u","x":{"user":"v"},"prompt_cache_key" : "a"}"#.to_owned()),
            (Some((0, "a")), r#"{"prompt_cache_key":"a","prompt_cache_key":"b"}"#.to_owned()),
            (Some((0, "b")), r#"{"prompt_cache_key":null,"prompt_cache_key":"b"}"#.to_owned()),
            (Some((1, "u")), r#"{"prompt_cache_key":"","user":"u"}"#.to_owned()),
            (Some((0, "\"\\é")), r#"{"prompt_cache_key":"\"\\\u00e9"}"#.to_owned()),
            (Some((0, "\"\\é")), r#"{"prompt_cache_key":"\u0022\u005Cé"}"#.to_owned()),
            (Some((0, "a/😀")), r#"{"prompt_cache_key":"a\/\ud83D\uDe00"}"#.to_owned()),
            (Some((0, "a/😀")), r#"{"prompt\u005fcache_key":"a/😀"}"#.to_owned()),
            (Some((0, r"\ud83d")), r#"{"prompt_cache_key":"\ud83d"}"#.to_owned()),
            (Some((0, &longest)), format!(r#"{{"prompt_cache_key":"{}"}}"#, r"\u006b".repeat(256))),
            (Some((1, "u")), format!(r#"{{"prompt_cache_key":"{}","user":"u"}}"#, r"\u006b".repeat(257))),
            (Some((0, &longest)), format!(r#"{{"prompt_cache_key":"{longest}"}}"#)),
            (Some((1, "u")), format!(r#"{{"prompt_cache_key":"{longer}","user":"u"}}"#)),
            (Some((1, "u")), format!(r#"{{"prompt_cache_key":1{},"user":"u"}}"#, "0".repeat(256))),
            (Some((1, "7")), r#"{"user":7}"#.to_owned()),
            (Some((1, "-1.5E+3")), "{\"user\":-1.5E+3\n}".to_owned()),
            (Some((1, "true")), r#"{"user" :true , "a":1}"#.to_owned()),
            (Some((2, "m")), r#"{"user":{"id":"m"},"model":"m","prompt_cache_key":["a"]}"#.to_owned()),
            (Some((3, "false")), r#"{"stream":false}"#.to_owned()),
            (None, r#"{"user":"unfinished"#.to_owned()),
            (None, r#"{"user":12"#.to_owned()),
            (None, r#"{"user_":"a","use":"b","prompt_cache_keys":"c","":"d"}"#.to_owned()),
            (None, r#"{"a":{"user":"b"},"prompt":"\"user\":\"c\""}"#.to_owned()),
            (None, r#"[{"user":"a"}]"#.to_owned()),
            (None, String::new()),
        ] {
            let value = value.map(|(index, value): (usize, &str)| (index, value.to_owned()));
            for split in 0..=body.len() {
                let names = ["prompt_cache_key", "user", "model", "stream"];
                assert_eq!(found(&names, 4096, &body, split), value, "{body} split at {split}");
            }
        }
    }

    #[test]
    fn a_value_that_ends_after_the_limit_is_ignored() {
        let begin = r#"{"a":"b","user":"c""#;
        let (end, body) = (begin.len(), &format!(r#"{begin},"d":1}}"#));
        for split in 0..=body.len() {
            assert_eq!(found(&["user"], end, body, split), Some((0, "c".to_owned())), "split at {split}");
            assert_eq!(found(&["user"], end - 1, body, split), None, "split at {split}");
        }
    }

    #[test]
    fn the_search_ends_once_no_better_key_can_follow() {
        let seeks = |body: &[u8]| {
            let mut members = RequestMembers::default();
            members.watch(["user", "session"].into_iter(), 100);
            members.push(body);
            members.seeks_key()
        };
        assert!(seeks(b"") && seeks(br#"{"session":"a","user":"#) && seeks(br#"{"user":null"#));
        assert!(!seeks(br#"{"user":"a""#) && !seeks(br#"{"user":1,"#));
        assert!(!seeks(b"{}") && !seeks(b"[") && !seeks(b"\x1f\x8b") && !seeks(&[b' '; 100]));
        assert!(!RequestMembers::default().seeks_key());
    }

    #[test]
    fn the_key_search_does_not_affect_other_members() {
        let body = r#"{"model":"m","user":"u","stream":true}"#;
        let mut members = RequestMembers::default();
        members.watch(["user", "model", "stream"].into_iter(), 5);
        members.push(body.as_bytes());
        assert_eq!((members.stream(), members.model().as_deref()), (Some(true), Some("m")));
        assert_eq!(members.take_key(), None);
    }
}
