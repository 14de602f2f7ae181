//! Durations.

use std::time::Duration;

use super::ValueShape::{AnyOf, Count, Off, Pattern};
use super::{Parsed, Problem, ValueKind, is_off, never_off, or_off, quoted, shown_or_off, unless_off};
use crate::config::tree::Value;

/// Beyond a year it is a typing mistake, and clocks would have to be guarded against overflow.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Work over the network that repeats faster than this would be a load in itself.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// One or more numbers with units, not all of them zero.
const PATTERN: &str = "^(?=.*[1-9])(?:[0-9]+(?:\\.[0-9]+)? *(?:nanos|nsec|ns|usec|us|µs|millis|msec|ms|\
    seconds|second|secs|sec|s|minutes|minute|mins|min|m|hours|hour|hrs|hr|h|days|day|d|weeks|week|wks|wk|w|\
    months|month|M|years|year|yrs|yr|y)(?: *(?=[0-9])|$))+$";

/// Longer than zero.
pub const DURATION: ValueKind<Duration> =
    ValueKind { name: "duration", shape: Pattern(PATTERN), read: duration, show };

pub const DURATION_OR_OFF: ValueKind<Option<Duration>> = ValueKind {
    name: "duration or `off`",
    shape: AnyOf(&[Pattern(PATTERN), Off]),
    read: duration_or_off,
    show: |duration| shown_or_off(duration.as_ref(), show),
};

/// `off` is zero.
pub const DURATION_OR_ZERO: ValueKind<Duration> = ValueKind {
    name: "duration or `0s`",
    shape: AnyOf(&[Pattern(PATTERN), Count { from: 0, to: 0, or: "^0(?:s|ms|m)?$" }, Off]),
    read: duration_or_zero,
    show,
};

/// The time between two of many.
pub const INTERVAL: ValueKind<Duration> =
    ValueKind { name: "duration, at least `100ms`", shape: Pattern(PATTERN), read: interval, show };

/// When the kernel begins to probe a silent peer. It takes whole seconds, at most 32767 of them (tcp(7)).
pub const WHOLE_SECONDS_OR_OFF: ValueKind<Option<Duration>> = ValueKind {
    name: "whole seconds or `off`",
    shape: AnyOf(&[Pattern(PATTERN), Off]),
    read: whole_seconds_or_off,
    show: |duration| shown_or_off(duration.as_ref(), show),
};

fn show(duration: &Duration) -> String {
    humantime::format_duration(*duration).to_string()
}

fn duration(value: &Value) -> Parsed<Duration> {
    let remedy = "write a number and a unit, such as `500ms`, `300s` or `5m`";
    let problem = || never_off(value, Problem::not(value, "a duration", remedy));
    parse(value).ok_or_else(|| out_of_bounds(value, "").unwrap_or_else(problem))
}

fn interval(value: &Value) -> Parsed<Duration> {
    let interval = duration(value)?;
    if interval < SHORTEST_INTERVAL {
        return Err(Problem::new(format!("{} is too short", quoted(value)), "write at least `100ms`"));
    }
    Ok(interval)
}

fn duration_or_off(value: &Value) -> Parsed<Option<Duration>> {
    unless_off(value, "a duration", "write a number and a unit, such as `300s` or `5m`", parse)
        .map_err(|problem| out_of_bounds(value, ", or `off`").unwrap_or(problem))
}

fn duration_or_zero(value: &Value) -> Parsed<Duration> {
    if is_off(value) || matches!(value.text(), Some("0" | "0s" | "0ms" | "0m")) {
        return Ok(Duration::ZERO);
    }
    let problem = || {
        let remedy = "write a number and a unit, such as `500ms` or `5s`, or `0s`";
        or_off(value, Problem::not(value, "a duration", remedy))
    };
    parse(value).ok_or_else(|| out_of_bounds(value, ", or `0s`").unwrap_or_else(problem))
}

fn whole_seconds_or_off(value: &Value) -> Parsed<Option<Duration>> {
    let fits = |silence: &Duration| (1..=32767).contains(&silence.as_secs()) && silence.subsec_nanos() == 0;
    let kind = "a duration in whole seconds";
    unless_off(value, kind, "write seconds from `1s` to `32767s`", |value| parse(value).filter(fits))
}

fn parse(value: &Value) -> Option<Duration> {
    let duration = any_length(value)?;
    (Duration::ZERO < duration && duration <= LONGEST).then_some(duration)
}

/// `humantime` also takes line ends, and space at both ends.
fn any_length(value: &Value) -> Option<Duration> {
    let text = value.as_str()?;
    let is_plain = text.trim() == text && text.chars().all(|c| c == ' ' || !c.is_whitespace());
    humantime::parse_duration(text).ok().filter(|_| is_plain)
}

/// The problem with a duration that is zero or beyond a year. `or`: what else can be written.
fn out_of_bounds(value: &Value, or: &str) -> Option<Problem> {
    let duration = any_length(value)?;
    let problem =
        |what: &str, remedy: String| Some(Problem::new(format!("{} {what}", quoted(value)), remedy));
    if duration.is_zero() {
        return problem("is too short", format!("write a duration longer than zero, such as `500ms`{or}"));
    }
    if duration > LONGEST { problem("is too long", "write at most a year, `366d`".to_owned()) } else { None }
}
