//! Reads single values: durations, sizes, addresses, words.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use super::tree::Value;

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

    fn not(value: &Value, what: &str, remedy: &str) -> Self {
        Self::new(format!("{} is not {what}", quoted(value)), remedy)
    }
}

type Parsed<T> = Result<T, Problem>;

/// The value as a person wrote it, for messages.
pub fn quoted(value: &Value) -> String {
    match value {
        Value::Mapping(_) => "a mapping".to_owned(),
        Value::List(_) => "a list".to_owned(),
        Value::Null | Value::Unusable => "an empty value".to_owned(),
        Value::Expanded { written, .. } => format!("`{written}` (expanded)"),
        _ => format!("`{}`", value.text().unwrap_or_default()),
    }
}

pub const DID_YOU_MEAN_OFF: &str = "did you mean `off`?";

/// `off`, or `false`, which it becomes where a template of YAML 1.1 has it in its hands.
pub fn is_off(value: &Value) -> bool {
    value.as_bool() == Some(false) || value.as_str() == Some("off")
}

/// Whether somebody meant `off`, but wrote it in a way that YAML or another program has.
pub fn means_off(value: &Value) -> bool {
    let words = ["off", "no", "n", "none", "never", "disable", "disabled"];
    !is_off(value) && value.text().is_some_and(|text| words.contains(&text.to_ascii_lowercase().as_str()))
}

/// The problem with a value where `off` would be none.
pub fn or_off(value: &Value, problem: Problem) -> Problem {
    if means_off(value) { Problem { remedy: DID_YOU_MEAN_OFF.to_owned(), ..problem } } else { problem }
}

/// The problem with a value where there is no `off`.
pub fn never_off(value: &Value, problem: Problem) -> Problem {
    if is_off(value) || means_off(value) {
        Problem { remedy: format!("this cannot be `off`: {}", problem.remedy), ..problem }
    } else {
        problem
    }
}

/// Reads a value that can be `off`. `kind` is what it is else, such as "a size", and `example` how that is written.
fn unless_off<T>(
    value: &Value,
    kind: &str,
    example: &str,
    parse: impl FnOnce(&Value) -> Option<T>,
) -> Parsed<Option<T>> {
    if is_off(value) {
        return Ok(None);
    }
    let problem = || or_off(value, Problem::not(value, kind, &format!("{example}, or `off`")));
    parse(value).map(Some).ok_or_else(problem)
}

/// Reads a value that is null where nothing is meant.
pub fn unless_null<T>(value: &Value, read: impl FnOnce(&Value) -> Parsed<Option<T>>) -> Parsed<Option<T>> {
    if value.is_null() { Ok(None) } else { read(value) }
}

pub fn boolean(value: &Value) -> Parsed<bool> {
    value.as_bool().ok_or_else(|| {
        let remedy = match value.text().map(str::to_ascii_lowercase).as_deref() {
            Some("no" | "n" | "off") => "did you mean `false`?",
            Some("yes" | "y" | "on") => "did you mean `true`?",
            _ => "write `true` or `false`",
        };
        Problem::not(value, "a boolean", remedy)
    })
}

/// A duration longer than zero.
pub fn duration(value: &Value) -> Parsed<Duration> {
    let remedy = "write a number and a unit, such as `500ms`, `300s` or `5m`";
    let problem = || never_off(value, Problem::not(value, "a duration", remedy));
    parse_duration(value).ok_or_else(|| too_long(value).unwrap_or_else(problem))
}

/// A duration of what is done again and again over the network: more often than this it would be a load of its own.
pub fn interval(value: &Value) -> Parsed<Duration> {
    let interval = duration(value)?;
    if interval < Duration::from_millis(100) {
        return Err(Problem::new(format!("{} is too short", quoted(value)), "write at least `100ms`"));
    }
    Ok(interval)
}

/// A duration longer than zero, or `off`.
pub fn duration_or_off(value: &Value) -> Parsed<Option<Duration>> {
    unless_off(value, "a duration", "write a number and a unit, such as `300s` or `5m`", parse_duration)
        .map_err(|problem| too_long(value).unwrap_or(problem))
}

/// A duration, which can be zero.
pub fn duration_or_zero(value: &Value) -> Parsed<Duration> {
    if is_off(value) || matches!(value.text(), Some("0" | "0s" | "0ms" | "0m")) {
        return Ok(Duration::ZERO);
    }
    let problem = || {
        let remedy = "write a number and a unit, such as `500ms` or `5s`, or `0s`";
        or_off(value, Problem::not(value, "a duration", remedy))
    };
    parse_duration(value).ok_or_else(|| too_long(value).unwrap_or_else(problem))
}

/// When the kernel begins to probe a silent peer, or `off`. It knows seconds only, and not more of them than these (tcp(7)).
pub fn tcp_keepalive(value: &Value) -> Parsed<Option<Duration>> {
    let fits = |silence: &Duration| (1..=32767).contains(&silence.as_secs()) && silence.subsec_nanos() == 0;
    let kind = "a duration in whole seconds";
    unless_off(value, kind, "write seconds from `1s` to `32767s`", |value| parse_duration(value).filter(fits))
}

/// Beyond a year it is a typing mistake, and clocks would have to be guarded against overflow.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

fn parse_duration(value: &Value) -> Option<Duration> {
    let duration = humantime::parse_duration(value.as_str()?).ok()?;
    (Duration::ZERO < duration && duration <= LONGEST).then_some(duration)
}

/// The problem with a duration that is beyond all bounds, if it is one.
fn too_long(value: &Value) -> Option<Problem> {
    let duration = humantime::parse_duration(value.as_str()?).ok()?;
    (duration > LONGEST)
        .then(|| Problem::new(format!("{} is too long", quoted(value)), "write at most a year, `366d`"))
}

/// A number of bytes greater than zero: `64KiB`, `1MiB` or a plain number.
pub fn size(value: &Value) -> Parsed<usize> {
    let problem = || never_off(value, Problem::not(value, "a size", SIZE));
    parse_size(value).ok_or_else(problem)
}

/// A size, which can be zero.
pub fn size_or_zero(value: &Value) -> Parsed<usize> {
    if is_off(value) || matches!(value.text(), Some("0" | "0B" | "0KiB")) {
        return Ok(0);
    }
    let remedy = "write a number and a unit, such as `4KiB`, or `0`";
    parse_size(value).ok_or_else(|| or_off(value, Problem::not(value, "a size", remedy)))
}

/// A size, or `off`.
pub fn size_or_off(value: &Value) -> Parsed<Option<usize>> {
    unless_off(value, "a size", SIZE, parse_size)
}

const SIZE: &str = "write a number and a unit, such as `64KiB` or `1MiB`";

/// A number from 1, and the largest one that fits.
pub trait Count: TryFrom<NonZeroUsize> {
    const LARGEST: NonZeroUsize;
}

impl Count for NonZeroUsize {
    const LARGEST: NonZeroUsize = NonZeroUsize::MAX;
}

impl Count for NonZeroU32 {
    // A `usize` is no smaller on what this runs on.
    const LARGEST: NonZeroUsize = NonZeroUsize::new(u32::MAX as usize).unwrap();
}

/// A number from 1.
pub fn count<T: Count>(value: &Value) -> Parsed<T> {
    let problem = || never_off(value, Problem::not(value, COUNT, "write a number from 1"));
    parse_count(value).ok_or_else(|| too_large(value, T::LARGEST).unwrap_or_else(problem))
}

/// A number from 1, or `off`.
pub fn count_or_off<T: Count>(value: &Value) -> Parsed<Option<T>> {
    unless_off(value, COUNT, "write a number from 1", parse_count)
        .map_err(|problem| too_large(value, T::LARGEST).unwrap_or(problem))
}

/// A number, which can be zero.
pub fn count_or_zero(value: &Value) -> Parsed<usize> {
    if is_off(value) {
        return Ok(0);
    }
    let problem = || or_off(value, Problem::not(value, "a number", "write a number from 0"));
    value.as_count().ok_or_else(|| too_large(value, NonZeroUsize::MAX).unwrap_or_else(problem))
}

const COUNT: &str = "a number from 1";

fn parse_count<T: Count>(value: &Value) -> Option<T> {
    value.as_count().and_then(NonZeroUsize::new)?.try_into().ok()
}

/// The problem with a number that does not fit, if it is one.
fn too_large(value: &Value, largest: NonZeroUsize) -> Option<Problem> {
    let digits =
        value.text().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?.trim_start_matches('0');
    // What is no number then has more digits than any that fits.
    let is_too_large =
        !digits.is_empty() && digits.parse().map_or(true, |number: usize| number > largest.get());
    is_too_large.then(|| {
        Problem::new(format!("{} is too large", quoted(value)), format!("write at most `{largest}`"))
    })
}

/// A whole number of hundredths, with its sign or without.
pub fn percentage(value: &Value) -> Parsed<u32> {
    let digits = value.text().map(|text| text.strip_suffix('%').unwrap_or(text).trim_end());
    let digits = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let percentage = digits.and_then(|digits| digits.parse().ok()).filter(|&percentage| percentage <= 100);
    let problem = || never_off(value, Problem::not(value, "a percentage", "write one from `0%` to `100%`"));
    percentage.ok_or_else(problem)
}

fn parse_size(value: &Value) -> Option<usize> {
    let text = value.text()?;
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor: usize = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(factor).filter(|&bytes| bytes > 0)
}

/// An IP address and a port to listen on.
pub fn address(value: &Value) -> Parsed<SocketAddr> {
    value.as_str().unwrap_or_default().parse().map_err(|_| {
        let remedy = "write an IP address and a port, such as `127.0.0.1:8080` or `[::]:8080`";
        Problem::not(value, "an address to listen on", remedy)
    })
}

/// The absolute path of a unix socket, short enough for one (unix(7): 108 bytes with the final NUL).
pub fn socket_path(value: &Value, path: &str) -> Parsed<PathBuf> {
    if path.starts_with('/') && path.len() < 108 && !path.contains('\0') {
        return Ok(path.into());
    }
    let remedy = "write an absolute path of less than 108 bytes, such as `unix:/run/sidestream/http.sock`";
    Err(Problem::not(value, "the path of a unix socket", remedy))
}

/// The name of a model, as requests name it.
pub fn model(value: &Value) -> Parsed<String> {
    let name = value.text().filter(|name| !name.is_empty());
    name.map(str::to_owned).ok_or_else(|| {
        Problem::not(value, "the name of a model", "write it as requests name it, such as `gpt-4o`")
    })
}

/// What is logged: a level, or several for parts of the program.
pub fn log_filter(value: &Value) -> Parsed<String> {
    let filter = value.text().unwrap_or_default();
    match tracing_subscriber::EnvFilter::builder().parse(filter) {
        Ok(_) if !filter.is_empty() => Ok(filter.to_owned()),
        _ => {
            let remedy = "write a level, such as `warn` or `debug`, or levels for parts, such as `info,sidestream::exchange=debug`";
            Err(Problem::not(value, "a log level", remedy))
        }
    }
}

/// Worker threads: a number from 1, or `auto`.
pub fn threads(value: &Value) -> Parsed<Option<NonZeroUsize>> {
    if value.as_str() == Some("auto") {
        return Ok(None);
    }
    let threads = value.as_count().filter(|&n| n <= 1024);
    threads
        .and_then(NonZeroUsize::new)
        .map(Some)
        .ok_or_else(|| Problem::not(value, "a number of threads", "write a number from 1 to 1024, or `auto`"))
}

/// One of a closed set of words. `later` are words that are known but not supported yet.
pub fn word<T: Copy>(value: &Value, words: &[(&str, T)], later: &[&str]) -> Parsed<T> {
    let text = if is_off(value) { "off" } else { value.text().unwrap_or_default() };
    if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*meaning);
    }
    let list = words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
    let remedy = format!("write {list}");
    if later.contains(&text) {
        return Err(not_supported(value, &remedy));
    }
    let problem = Problem::new(format!("{} is not a word that is known here", quoted(value)), remedy);
    Err(if words.iter().any(|(word, _)| *word == "off") { or_off(value, problem) } else { problem })
}

fn not_supported(value: &Value, remedy: &str) -> Problem {
    Problem::new(format!("{} is not supported yet", quoted(value)), remedy)
}
