//! Kinds of values: how each is read, printed and described.

mod addresses;
mod durations;
mod numbers;
mod sizes;
mod texts;
mod words;

pub use addresses::{ADMIN_ADDRESS, LISTEN_ADDRESS, NETWORK, TrustedPeer, UNIX, socket_path};
pub use durations::{DURATION, DURATION_OR_OFF, DURATION_OR_ZERO, INTERVAL, WHOLE_SECONDS_OR_OFF};
pub use numbers::{COUNT, COUNT_OR_OFF, FACTOR, LIMIT, PERCENTAGE, QUEUE_SIZE, THREADS};
pub use sizes::{HEADER_SIZE, PADDING, SIZE, SIZE_OR_OFF};
pub use texts::{BOOLEAN, LOG_FILTER, MODEL, NAME};
pub use words::{Word, one_of, word, word_for};

pub(super) use addresses::{ipv4, port};

use super::tree::Value;

/// The outcome of reading a value.
pub type Parsed<T> = Result<T, Problem>;

/// A kind of value: the way from YAML to a `T` and back.
pub struct ValueKind<T: 'static> {
    /// Its name in messages and documents, such as "duration or `off`".
    pub name: &'static str,
    pub shape: ValueShape,
    pub read: fn(&Value) -> Parsed<T>,
    /// YAML that reads back as the same value.
    pub show: fn(&T) -> String,
}

/// What a JSON Schema can say about a value. Its reader may be stricter, never more lenient.
///
/// Patterns are regular expressions that ECMAScript (with the flag `u`) and Python read alike.
#[derive(Clone, Copy)]
pub enum ValueShape {
    /// A string. The pattern must not match a `$`, which would need escaping.
    Pattern(&'static str),
    /// A string in which `$` is escaped.
    Text(&'static str),
    /// Any string, number or boolean but the empty string.
    Scalar,
    /// A whole number within these bounds, or a string of this pattern.
    Count {
        from: u64,
        to: u64,
        or: &'static str,
    },
    /// A number within these bounds, or a string of this pattern.
    Number {
        from: f64,
        to: f64,
        or: &'static str,
    },
    Words(fn() -> Vec<&'static str>),
    Boolean,
    Off,
    Null,
    AnyOf(&'static [ValueShape]),
}

/// What is wrong with a value, and the remedy.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    pub problem: String,
    pub remedy: String,
}

impl Problem {
    pub fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: remedy.into() }
    }

    pub fn not(value: &Value, what: &str, remedy: &str) -> Self {
        Self::new(format!("{} is not {what}", quoted(value)), remedy)
    }

    /// The same for a number, whose digits may be the mistake.
    pub fn no_number(value: &Value, what: &str, remedy: &str) -> Self {
        let text = value.text().unwrap_or_default().trim_start_matches(['+', '-']);
        let digits = text.strip_prefix('0').unwrap_or_default().trim_start_matches(['x', 'o', 'b']);
        if digits.starts_with(|c: char| c.is_ascii_hexdigit()) && !digits.starts_with('B') {
            let remedy =
                "write decimal digits without a leading zero: versions of YAML disagree about others";
            return Self::not(value, what, remedy);
        }
        Self::not(value, what, remedy)
    }
}

/// The value as the file has it, for messages. Variables keep their names, because their values may be secrets.
pub fn quoted(value: &Value) -> String {
    match value {
        Value::Mapping(_) => "a mapping".to_owned(),
        Value::List(items) if items.is_empty() => "an empty list".to_owned(),
        Value::List(_) => "a list".to_owned(),
        Value::Null | Value::Unusable => "an empty value".to_owned(),
        Value::Expanded { written, .. } => format!("`{written}` (expanded)"),
        _ => format!("`{}`", value.text().unwrap_or_default()),
    }
}

pub const DID_YOU_MEAN_OFF: &str = "did you mean `off`?";

/// Whether a value is `off`, or `false`: programs that write YAML 1.1 turn the one into the other.
pub fn is_off(value: &Value) -> bool {
    value.as_bool() == Some(false) || value.as_str() == Some("off")
}

/// Whether a value is another word for `off`.
pub fn means_off(value: &Value) -> bool {
    let words = ["off", "no", "n", "none", "never", "disable", "disabled"];
    !is_off(value) && value.text().is_some_and(|text| words.contains(&text.to_ascii_lowercase().as_str()))
}

/// The problem with a value where `off` is allowed.
pub fn or_off(value: &Value, problem: Problem) -> Problem {
    if means_off(value) { Problem { remedy: DID_YOU_MEAN_OFF.to_owned(), ..problem } } else { problem }
}

/// The problem with a value where `off` is not allowed.
pub fn never_off(value: &Value, problem: Problem) -> Problem {
    if is_off(value) || means_off(value) {
        Problem { remedy: format!("this cannot be `off`: {}", problem.remedy), ..problem }
    } else {
        problem
    }
}

/// Reads a value that can be `off`. `kind` names the other values, such as "a size", and `example` says how to write one.
fn unless_off<T>(
    value: &Value,
    kind: &str,
    example: &str,
    parse: impl FnOnce(&Value) -> Option<T>,
) -> Parsed<Option<T>> {
    if is_off(value) {
        return Ok(None);
    }
    let problem = || or_off(value, Problem::no_number(value, kind, &format!("{example}, or `off`")));
    parse(value).map(Some).ok_or_else(problem)
}

/// Reads a value that can be null.
pub fn unless_null<T>(value: &Value, read: impl FnOnce(&Value) -> Parsed<T>) -> Parsed<Option<T>> {
    if value.is_null() { Ok(None) } else { read(value).map(Some) }
}

/// A string that YAML reads back as this string. A `$` is doubled, because a single one may begin a variable.
pub fn text(text: &str) -> String {
    quoted_yaml(&text.replace('$', "$$"))
}

/// A string that YAML reads back as this string: JSON's quoting is YAML's, but for a few characters.
pub fn quoted_yaml(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json.chars().fold(String::with_capacity(json.len()), |mut quoted, c| {
        match c {
            // Line ends in YAML, or characters that it does not allow (YAML 1.2.2, 5.1).
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            _ => quoted.push(c),
        }
        quoted
    })
}

/// The value, or `off`.
pub fn shown_or_off<T>(value: Option<&T>, show: impl FnOnce(&T) -> String) -> String {
    value.map_or_else(|| "off".to_owned(), show)
}

/// The value, or `null`.
pub fn shown_or_null<T>(value: Option<&T>, show: impl FnOnce(&T) -> String) -> String {
    value.map_or_else(|| "null".to_owned(), show)
}
