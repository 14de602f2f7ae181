//! Booleans and texts.

use tracing::level_filters::LevelFilter;

use super::ValueShape::{Boolean, Scalar, Text};
use super::{Parsed, Problem, ValueKind, text};
use crate::config::tree::Value;

pub const BOOLEAN: ValueKind<bool> =
    ValueKind { name: "`true` or `false`", shape: Boolean, read: boolean, show: bool::to_string };

/// The name of another part of the file.
pub const NAME: ValueKind<String> =
    ValueKind { name: "name", shape: Text("."), read: name, show: |name| text(name) };

/// The name of a model, as requests have it.
pub const MODEL: ValueKind<String> =
    ValueKind { name: "name", shape: Scalar, read: model, show: |model| text(model) };

/// A level, or levels for parts of the program.
pub const LOG_FILTER: ValueKind<String> =
    ValueKind { name: "log level", shape: Scalar, read: log_filter, show: |filter| text(filter) };

fn boolean(value: &Value) -> Parsed<bool> {
    value.as_bool().ok_or_else(|| {
        let remedy = match value.text().map(str::to_ascii_lowercase).as_deref() {
            Some("no" | "n" | "off") => "did you mean `false`?",
            Some("yes" | "y" | "on") => "did you mean `true`?",
            _ => "write `true` or `false`",
        };
        Problem::not(value, "a boolean", remedy)
    })
}

fn name(value: &Value) -> Parsed<String> {
    let name = value.as_str().filter(|name| !name.is_empty());
    name.map(str::to_owned)
        .ok_or_else(|| Problem::not(value, "a name", "write a name, in quotes if it is a number"))
}

fn model(value: &Value) -> Parsed<String> {
    let name = value.text().filter(|name| !name.is_empty());
    name.map(str::to_owned).ok_or_else(|| {
        Problem::not(value, "the name of a model", "write it as requests name it, such as `gpt-4o`")
    })
}

fn log_filter(value: &Value) -> Parsed<String> {
    let filter = value.text().unwrap_or_default();
    // To `EnvFilter`, a word that is no level is a part of the program, and nothing else would be logged.
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let has_level = filter.contains('=') || filter.split(',').any(|word| is_level(word.trim()));
    match tracing_subscriber::EnvFilter::builder().parse(filter) {
        Ok(_) if has_level => Ok(filter.to_owned()),
        _ => {
            let remedy = "write a level, such as `warn` or `debug`, or levels for parts, such as `info,sidestream::exchange=debug`";
            Err(Problem::not(value, "a log level", remedy))
        }
    }
}
