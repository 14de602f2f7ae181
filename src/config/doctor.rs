//! The probe origin of `sidestream doctor` on a listener: its path and its secret.

use std::fmt;
use std::str::FromStr;

use rustix::rand::{GetRandomFlags, getrandom};

use super::key::{Key, key};
use super::keys::Keys;
use super::tree::Value;
use super::values::ValueShape::{AnyOf, Null, Off, Pattern, Text};
use super::values::{self, Parsed, Problem, ValueKind, shown_or_null, shown_or_off, text};

/// The length of the shortest token, in characters. Shorter ones could be guessed.
const MIN_TOKEN: usize = 16;
/// The length of a random token, in bytes. It is written in hexadecimal.
const RANDOM: usize = 16;

pub static DOCTOR_PATH: Key<Option<String>> = key(
    "doctor_path",
    "0.1.0",
    PATH,
    "off",
    "A probe origin for `sidestream doctor` answers at this path and below it, in place of the routes.",
)
.example("/doctor");

pub static DOCTOR_TOKEN: Key<Option<DoctorToken>> = key(
    "doctor_token",
    "0.1.0",
    TOKEN,
    "null",
    "The secret that requests to the probe origin must show: at least 16 letters, digits or `-._~`. `null` chooses a random one \
     and logs it.",
)
.example("0123456789abcdef");

const PATH: ValueKind<Option<String>> = ValueKind {
    name: "path or `off`",
    shape: AnyOf(&[Text("^/[^?#]*$"), Off, Null]),
    read: |value| values::unless_null(value, doctor_path).map(Option::flatten),
    show: |path| shown_or_off(path.as_ref(), |path| text(if path.is_empty() { "/" } else { path })),
};

const TOKEN: ValueKind<Option<DoctorToken>> = ValueKind {
    name: "token or `null`",
    // Programs that write YAML may spell a number in another way, so it needs quotes.
    shape: AnyOf(&[Pattern("^[A-Za-z0-9._~-]{16,}$"), Null]),
    read: |value| values::unless_null(value, doctor_token),
    show: |token| shown_or_null(token.as_ref(), |token| text(token.as_str())),
};

/// Where a probe origin answers in place of the routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoctorPoint {
    /// Without the `/` at its end.
    path: String,
    /// `None` is the random token of the process.
    pub token: Option<DoctorToken>,
}

impl DoctorPoint {
    /// Whether a path is this one or below it.
    pub fn covers(&self, path: &str) -> bool {
        path.strip_prefix(&self.path).is_some_and(|below| below.is_empty() || below.starts_with('/'))
    }

    /// The path, `/` for all paths.
    pub fn path(&self) -> &str {
        if self.path.is_empty() { "/" } else { &self.path }
    }
}

/// Reads the keys of a listener's probe origin.
pub fn doctor_point(keys: &mut Keys) -> Option<DoctorPoint> {
    let path = keys.get(&DOCTOR_PATH);
    let token = keys.get(&DOCTOR_TOKEN);
    path.map(|path| DoctorPoint { path, token })
}

fn doctor_path(value: &Value) -> Parsed<Option<String>> {
    if values::is_off(value) {
        return Ok(None);
    }
    match value.as_str() {
        Some(path) if path.starts_with('/') && !path.contains(['?', '#']) => {
            Ok(Some(path.trim_end_matches('/').to_owned()))
        }
        _ => {
            let remedy = "write a path that begins with `/`, such as `/doctor`, or `off`";
            Err(values::or_off(value, Problem::not(value, "a path", remedy)))
        }
    }
}

/// Its messages never show the value, which is a secret.
fn doctor_token(value: &Value) -> Parsed<DoctorToken> {
    if matches!(value, Value::Plain(_)) {
        return Err(Problem::new("a token without quotes is read as a number here", "put it in quotes"));
    }
    let token = value.as_str().unwrap_or_default().parse();
    token.map_err(|bad: BadToken| Problem::new(bad.to_string(), "leave the key out to have a random one"))
}

/// The secret of a probe origin. It has only characters that no hop encodes.
#[derive(Clone, PartialEq, Eq)]
pub struct DoctorToken(String);

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// It is shorter than 16 characters.
    #[error("a token has at least {MIN_TOKEN} characters")]
    Short,
    /// It has a character that a hop could encode.
    #[error("a token consists of letters, digits and `-._~`")]
    Character,
}

impl DoctorToken {
    /// A token of 128 random bits, in hexadecimal. Fails if the kernel has no random bytes.
    pub fn random() -> std::io::Result<Self> {
        let mut bytes = [0; RANDOM];
        // Up to 256 bytes are never returned in part (getrandom(2)).
        getrandom(&mut bytes, GetRandomFlags::empty())?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Compares with the token of a request, in constant time for a given length.
    pub fn is(&self, given: &str) -> bool {
        let pairs = self.0.bytes().zip(given.bytes());
        let difference =
            pairs.fold(0, |difference, (mine, theirs)| std::hint::black_box(difference | (mine ^ theirs)));
        difference == 0 && self.0.len() == given.len()
    }

    /// The secret itself.
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

/// Does not show the secret, so that no log has it by accident.
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
    fn a_token_equals_only_itself() {
        let token: DoctorToken = "0123456789abcdef".parse().expect("a token");
        assert!(token.is("0123456789abcdef"));
        for other in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeF", "1123456789abcdef"] {
            assert!(!token.is(other), "{other}");
        }
    }

    #[test]
    fn short_tokens_and_encoded_characters_are_refused() {
        assert_eq!("0123456789abcde".parse::<DoctorToken>(), Err(BadToken::Short));
        assert_eq!("0123456789 abcdef".parse::<DoctorToken>(), Err(BadToken::Character));
        assert_eq!("0123456789+abcdef".parse::<DoctorToken>(), Err(BadToken::Character));
    }

    #[test]
    fn random_tokens_differ_and_are_valid() {
        let [one, other] = [(), ()].map(|()| DoctorToken::random().expect("random bytes"));
        assert_ne!(one, other);
        assert_eq!(one.as_str().parse(), Ok(one.clone()));
        assert_eq!(one.as_str().len(), 32);
    }
}
