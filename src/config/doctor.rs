//! The probe origin (`sidestream doctor`): where a listener has one, and its secret.

use std::fmt;
use std::str::FromStr;

use rustix::rand::{GetRandomFlags, getrandom};

use super::keys::Keys;
use super::tree::Value;
use super::values::{self, Problem};

/// Characters that a token has at least: fewer could be guessed.
const MIN_TOKEN: usize = 16;
/// Random bytes of one that nobody has chosen.
const RANDOM: usize = 16;

/// Where a listener has a probe origin in the place of its routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoctorPoint {
    /// Without a `/` at its end.
    path: String,
    /// `None`: the one of the process.
    pub token: Option<DoctorToken>,
}

impl DoctorPoint {
    /// Whether a path is this one, or below it.
    pub fn covers(&self, path: &str) -> bool {
        path.strip_prefix(&self.path).is_some_and(|below| below.is_empty() || below.starts_with('/'))
    }

    pub fn path(&self) -> &str {
        if self.path.is_empty() { "/" } else { &self.path }
    }
}

/// Reads the keys `doctor_path` and `doctor_token` of a listener.
pub fn doctor_point(keys: &mut Keys) -> Option<DoctorPoint> {
    let path = keys.get("doctor_path", None, |value| values::unless_null(value, doctor_path));
    let token = keys.get("doctor_token", None, |value| values::unless_null(value, doctor_token));
    path.map(|path| DoctorPoint { path, token })
}

fn doctor_path(value: &Value) -> Result<Option<String>, Problem> {
    if values::is_off(value) {
        return Ok(None);
    }
    match value.as_str() {
        Some(path) if path.starts_with('/') && !path.contains(['?', '#']) => {
            Ok(Some(path.trim_end_matches('/').to_owned()))
        }
        _ => {
            let problem = Problem::new(
                format!("{} is not a path", values::quoted(value)),
                "write a path that begins with `/`, such as `/doctor`, or `off`",
            );
            Err(values::or_off(value, problem))
        }
    }
}

/// Whatever is wrong with it, it is not shown.
fn doctor_token(value: &Value) -> Result<Option<DoctorToken>, Problem> {
    let token = value.text().unwrap_or_default().parse();
    token
        .map(Some)
        .map_err(|bad: BadToken| Problem::new(bad.to_string(), "leave it out to have a random one"))
}

/// What a request must show to have a probe origin do anything. Of characters that no hop encodes.
#[derive(Clone, PartialEq, Eq)]
pub struct DoctorToken(String);

/// Why something is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    #[error("a token has at least {MIN_TOKEN} characters")]
    Short,
    #[error("a token consists of letters, digits and `-._~`")]
    Character,
}

impl DoctorToken {
    /// One that nobody can guess.
    pub fn random() -> std::io::Result<Self> {
        let mut bytes = [0; RANDOM];
        // Up to 256 bytes come whole (getrandom(2)).
        getrandom(&mut bytes, GetRandomFlags::empty())?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Whether this is it. How long that takes tells nothing but its length.
    pub fn is(&self, given: &str) -> bool {
        let pairs = self.0.bytes().zip(given.bytes());
        let difference =
            pairs.fold(0, |difference, (mine, theirs)| std::hint::black_box(difference | (mine ^ theirs)));
        difference == 0 && self.0.len() == given.len()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DoctorToken {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if !text.bytes().all(is_plain) {
            return Err(BadToken::Character);
        }
        if text.len() < MIN_TOKEN {
            return Err(BadToken::Short);
        }
        Ok(Self(text.to_owned()))
    }
}

/// It is a secret, so no message shows it by accident.
impl fmt::Debug for DoctorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DoctorToken")
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_itself_and_nothing_else() {
        let token: DoctorToken = "0123456789abcdef".parse().expect("a token");
        assert!(token.is("0123456789abcdef"));
        for other in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeF", "1123456789abcdef"] {
            assert!(!token.is(other), "{other}");
        }
    }

    #[test]
    fn what_is_short_or_would_be_encoded_is_none() {
        assert_eq!("0123456789abcde".parse::<DoctorToken>(), Err(BadToken::Short));
        assert_eq!("0123456789 abcdef".parse::<DoctorToken>(), Err(BadToken::Character));
        assert_eq!("0123456789+abcdef".parse::<DoctorToken>(), Err(BadToken::Character));
    }

    #[test]
    fn random_ones_differ_and_are_tokens() {
        let [one, other] = [(), ()].map(|()| DoctorToken::random().expect("random bytes"));
        assert_ne!(one, other);
        assert_eq!(one.as_str().parse(), Ok(one.clone()));
        assert_eq!(one.as_str().len(), 32);
    }
}
