//! Compares the result of a row with the expected results.

use std::time::Duration;

use sidestream::session::Close;

use super::row::{Kind, Row};

/// When the first content was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstToken {
    Never,
    At(Duration),
    /// At a time that depends on the machine.
    Sometime,
}

impl From<Option<Duration>> for FirstToken {
    fn from(at: Option<Duration>) -> Self {
        at.map_or(Self::Never, Self::At)
    }
}

/// The result of a row, without heartbeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub body: Vec<u8>,
    pub close: Close,
    pub outcome: String,
    pub code: Option<String>,
    pub first_token: FirstToken,
    pub usage: (Option<u64>, Option<u64>),
}

impl Row {
    /// The differences between the result and the expected results.
    pub fn complaints(&self, seen: &Seen) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut compare = |what: &str, found: String, expected: String| {
            if found != expected {
                complaints.push(format!("{}: {what} is {found}, not {expected}", self.name));
            }
        };
        compare("the outcome", seen.outcome.clone(), self.outcome.to_owned());
        compare("the code", format!("{:?}", seen.code.as_deref()), format!("{:?}", self.code));
        compare("the close", format!("{:?}", seen.close), format!("{:?}", self.close));
        compare("the usage", format!("{:?}", seen.usage), format!("{:?}", self.usage));
        let expected = match seen.first_token {
            FirstToken::Sometime if self.first_token.is_some() => FirstToken::Sometime,
            _ => self.first_token.into(),
        };
        compare("the first token", format!("{:?}", seen.first_token), format!("{expected:?}"));
        complaints
            .extend(self.body_complaint(&seen.body).map(|complaint| format!("{}: {complaint}", self.name)));
        complaints
    }

    fn body_complaint(&self, body: &[u8]) -> Option<String> {
        let passed = [&self.passed()[..], self.completion.as_bytes()].concat();
        let Some(added) = body.strip_prefix(&passed[..]) else {
            return Some(format!("{} is not {}", ending(body), ending(&passed)));
        };
        match &self.error {
            Some((form, code)) => form.complaint(code, added, events(self.head.kind, &passed)),
            None => (!added.is_empty()).then(|| format!("{} was added", ending(added))),
        }
    }
}

/// The last part of a text that may be long.
fn ending(bytes: &[u8]) -> String {
    let end = &bytes[bytes.len().saturating_sub(400)..];
    format!("{} bytes ending in {:?}", bytes.len(), String::from_utf8_lossy(end))
}

/// The number of events in a stream (blocks with data).
fn events(kind: Kind, stream: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(stream).replace("\r\n", "\n").replace('\r', "\n");
    let count = match kind {
        Kind::Lines => text.lines().filter(|line| !line.trim().is_empty()).count(),
        _ => text
            .trim_start_matches('\u{feff}')
            .split("\n\n")
            .filter(|block| block.lines().any(|line| line == "data" || line.starts_with("data:")))
            .count(),
    };
    u64::try_from(count).unwrap_or(u64::MAX)
}
