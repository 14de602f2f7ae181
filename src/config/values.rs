//! Reads single values: durations, sizes, addresses, words.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_yaml::Value;

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
        Value::Sequence(_) => "a list".to_owned(),
        Value::Null => "an empty value".to_owned(),
        _ => format!("`{}`", text(value).unwrap_or_default()),
    }
}

/// A scalar as text: YAML reads `15` as a number and `true` as a boolean.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

pub fn is_off(value: &Value) -> bool {
    matches!(value, Value::Bool(false)) || value.as_str() == Some("off")
}

pub fn boolean(value: &Value) -> Parsed<bool> {
    value.as_bool().ok_or_else(|| Problem::new("this is not a boolean", "write `true` or `false`"))
}

/// A duration longer than zero.
pub fn duration(value: &Value) -> Parsed<Duration> {
    let remedy = "write a number and a unit, such as `500ms`, `300s` or `5m`";
    parse_duration(value).ok_or_else(|| Problem::not(value, "a duration", remedy))
}

/// A duration longer than zero, or `off`.
pub fn duration_or_off(value: &Value) -> Parsed<Option<Duration>> {
    if is_off(value) {
        return Ok(None);
    }
    let remedy = "write a number and a unit, such as `300s` or `5m`, or `off`";
    parse_duration(value).map(Some).ok_or_else(|| Problem::not(value, "a duration", remedy))
}

fn parse_duration(value: &Value) -> Option<Duration> {
    let duration = humantime::parse_duration(value.as_str()?).ok()?;
    // Beyond a year it is a typing mistake, and clocks would have to be guarded against overflow.
    (Duration::ZERO < duration && duration <= Duration::from_secs(366 * 24 * 3600)).then_some(duration)
}

/// A number of bytes greater than zero: `64KiB`, `1MiB` or a plain number.
pub fn size(value: &Value) -> Parsed<usize> {
    let remedy = "write a number and a unit, such as `64KiB` or `1MiB`";
    parse_size(value).ok_or_else(|| Problem::not(value, "a size", remedy))
}

/// A size, or `off`.
pub fn size_or_off(value: &Value) -> Parsed<Option<usize>> {
    if is_off(value) {
        return Ok(None);
    }
    let remedy = "write a number and a unit, such as `64KiB` or `1MiB`, or `off`";
    parse_size(value).map(Some).ok_or_else(|| Problem::not(value, "a size", remedy))
}

/// A number from 1, or `off`.
pub fn count_or_off(value: &Value) -> Parsed<Option<NonZeroUsize>> {
    if is_off(value) {
        return Ok(None);
    }
    let count = value.as_u64().and_then(|n| usize::try_from(n).ok()).and_then(NonZeroUsize::new);
    count.map(Some).ok_or_else(|| Problem::not(value, "a number", "write a number from 1, or `off`"))
}

fn parse_size(value: &Value) -> Option<usize> {
    let text = text(value)?;
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
    let name = text(value).filter(|name| !name.is_empty());
    name.ok_or_else(|| {
        Problem::not(value, "the name of a model", "write it as requests name it, such as `gpt-4o`")
    })
}

/// What is logged: a level, or several for parts of the program.
pub fn log_filter(value: &Value) -> Parsed<String> {
    let filter = text(value).unwrap_or_default();
    match tracing_subscriber::EnvFilter::builder().parse(&filter) {
        Ok(_) if !filter.is_empty() => Ok(filter),
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
    let threads = value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|&n| n <= 1024);
    threads
        .and_then(NonZeroUsize::new)
        .map(Some)
        .ok_or_else(|| Problem::not(value, "a number of threads", "write a number from 1 to 1024, or `auto`"))
}

/// One of a closed set of words. `later` are words that are known but not supported yet.
pub fn word<T: Copy>(value: &Value, words: &[(&str, T)], later: &[&str]) -> Parsed<T> {
    let text = if is_off(value) { "off".to_owned() } else { text(value).unwrap_or_default() };
    if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*meaning);
    }
    let list = words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
    let remedy = format!("write {list}");
    if later.contains(&text.as_str()) {
        return Err(not_supported(value, &remedy));
    }
    Err(Problem::new(format!("{} is not a word that is known here", quoted(value)), remedy))
}

/// A key whose work is still to come: only the values that ask for nothing are accepted.
pub fn not_yet(value: &Value, accepted: &[Value], remedy: &str) -> Parsed<()> {
    let asks_for_nothing = accepted.iter().any(|a| a == value || (is_off(a) && is_off(value)));
    if asks_for_nothing { Ok(()) } else { Err(not_supported(value, remedy)) }
}

pub fn not_supported(value: &Value, remedy: &str) -> Problem {
    Problem::new(format!("{} is not supported yet", quoted(value)), remedy)
}

/// Reads a PEM file with at least one certificate.
pub fn certificate_file(value: &Value) -> Parsed<(PathBuf, Vec<CertificateDer<'static>>)> {
    pem_file(value, "certificate", |path| {
        let certificates = CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>()?;
        if certificates.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(certificates) }
    })
}

/// Reads a PEM file with a private key.
pub fn key_file(value: &Value) -> Parsed<(PathBuf, PrivateKeyDer<'static>)> {
    pem_file(value, "private key", |path| PrivateKeyDer::from_pem_file(path))
}

fn pem_file<T>(
    value: &Value,
    what: &str,
    read: impl FnOnce(&Path) -> Result<T, pem::Error>,
) -> Parsed<(PathBuf, T)> {
    let remedy = format!("give the path of a PEM file that holds a {what} and that this user may read");
    let Some(path) = value.as_str() else {
        return Err(Problem::new(format!("{} is not a path", quoted(value)), remedy));
    };
    let read = read(Path::new(path)).map_err(|error| {
        let reason = match error {
            pem::Error::Io(error) => error.to_string(),
            pem::Error::NoItemsFound => format!("there is no {what} in it"),
            error => format!("{error:?}"),
        };
        Problem::new(format!("cannot read the {what} `{path}`: {reason}"), remedy)
    })?;
    Ok((path.into(), read))
}
