//! The query of a request, as far as orders need one: names and plain values, nothing encoded. Names that nobody asks for mean
//! nothing: a hop may add some.

use std::ops::RangeInclusive;

use super::order::BadOrder;

/// What of a query nobody has asked for yet.
#[derive(Debug)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// What stands in the query of a request from `first` on: what is before it belongs to the URL that is probed.
    pub fn of(target: &[u8], first: &str) -> Self {
        let target = String::from_utf8_lossy(target);
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let begin = query.match_indices(first).find(|(at, _)| *at == 0 || query[..*at].ends_with('&'));
        let query = begin.map_or("", |(at, _)| &query[at..]);
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), value.to_owned())
        };
        Self(pairs.map(pair).collect())
    }

    pub fn take(&mut self, name: &str) -> Option<String> {
        let index = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.remove(index).1)
    }

    /// One of these words.
    pub fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)], default: T) -> Result<T, BadOrder> {
        let Some(value) = self.take(name) else { return Ok(default) };
        let found = words.iter().find(|(word, _)| *word == value);
        found.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let known: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            BadOrder::value(name, value, known.join(" or "))
        })
    }

    /// A number that is one of these.
    pub fn number(&mut self, name: &str, range: RangeInclusive<u32>, default: u32) -> Result<u32, BadOrder> {
        let Some(value) = self.take(name) else { return Ok(default) };
        value.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            BadOrder::value(name, value, format!("a number from {} to {}", range.start(), range.end()))
        })
    }
}
