//! Numbers: counts, percentages and factors.

use std::num::{NonZeroU32, NonZeroUsize};

use super::ValueShape::{self, AnyOf, Null, Off, Words};
use super::{
    Parsed, Problem, ValueKind, is_off, never_off, or_off, quoted, shown_or_null, shown_or_off, unless_null,
    unless_off,
};
use crate::config::tree::{Value, is_decimal};

const FROM_ONE: &str = "^[1-9][0-9]*$";

/// Requests that wait at once. Each holds a connection, so more of them is a typing mistake.
const LARGEST_QUEUE: usize = 1_000_000;

const MAX_THREADS: usize = 1024;

/// A number from 1, and the largest one that fits.
pub trait Count: TryFrom<NonZeroUsize> + ToString + 'static {
    const LARGEST: NonZeroUsize;
}

impl Count for NonZeroUsize {
    const LARGEST: NonZeroUsize = NonZeroUsize::MAX;
}

impl Count for NonZeroU32 {
    // On every supported platform a `usize` has at least 32 bits.
    const LARGEST: NonZeroUsize = NonZeroUsize::new(u32::MAX as usize).unwrap();
}

/// A number from 1.
pub const COUNT: ValueKind<NonZeroU32> = ValueKind {
    name: "number from 1",
    shape: ValueShape::Count { from: 1, to: u32::MAX as u64, or: FROM_ONE },
    read: count,
    show: NonZeroU32::to_string,
};

/// A number from 1, or `off`.
pub const COUNT_OR_OFF: ValueKind<Option<NonZeroUsize>> = ValueKind {
    name: "number from 1, or `off`",
    shape: AnyOf(&[ValueShape::Count { from: 1, to: u64::MAX, or: FROM_ONE }, Off]),
    read: count_or_off,
    show: |count| shown_or_off(count.as_ref(), NonZeroUsize::to_string),
};

/// A number from 1, or `off`; `null` leaves the limit to another key.
pub const LIMIT: ValueKind<Option<Option<NonZeroU32>>> = ValueKind {
    name: "number from 1, `off` or `null`",
    shape: AnyOf(&[ValueShape::Count { from: 1, to: u32::MAX as u64, or: FROM_ONE }, Off, Null]),
    read: |value| unless_null(value, count_or_off),
    show: |limit| shown_or_null(limit.as_ref(), |limit| shown_or_off(limit.as_ref(), NonZeroU32::to_string)),
};

/// `off` is zero.
pub const QUEUE_SIZE: ValueKind<usize> = ValueKind {
    name: "number from 0 to 1000000",
    shape: AnyOf(&[ValueShape::Count { from: 0, to: LARGEST_QUEUE as u64, or: "^(?:0|[1-9][0-9]*)$" }, Off]),
    read: queue_size,
    show: usize::to_string,
};

/// A whole percentage, with or without `%`.
pub const PERCENTAGE: ValueKind<u32> = ValueKind {
    name: "percentage from `0%` to `100%`",
    shape: ValueShape::Count { from: 0, to: 100, or: "^(?:100|[1-9]?[0-9])(?: *%)?$" },
    read: percentage,
    show: |percentage| format!("{percentage}%"),
};

/// From 1.01 to 100.
const FACTOR_TEXT: &str =
    "^(?:1\\.(?:0[1-9]|[1-9])[0-9]*|[2-9](?:\\.[0-9]+)?|[1-9][0-9](?:\\.[0-9]+)?|100(?:\\.0+)?)$";

/// A factor above 1, in percent.
pub const FACTOR: ValueKind<u32> = ValueKind {
    name: "number from 1.01 to 100",
    shape: ValueShape::Number { from: 1.01, to: 100.0, or: FACTOR_TEXT },
    read: factor,
    show: |percent| (f64::from(*percent) / 100.0).to_string(),
};

/// Worker threads; `None` is one per core.
pub const THREADS: ValueKind<Option<NonZeroUsize>> = ValueKind {
    name: "number from 1 to 1024, or `auto`",
    shape: AnyOf(&[
        Words(|| vec!["auto"]),
        ValueShape::Count { from: 1, to: MAX_THREADS as u64, or: FROM_ONE },
    ]),
    read: threads,
    show: |threads| threads.map_or_else(|| "auto".to_owned(), |threads| threads.to_string()),
};

const NAME: &str = "a number from 1";
const REMEDY: &str = "write a number from 1";

fn count<T: Count>(value: &Value) -> Parsed<T> {
    let problem = || never_off(value, Problem::no_number(value, NAME, REMEDY));
    parse(value).ok_or_else(|| too_large(value, T::LARGEST.get()).unwrap_or_else(problem))
}

fn count_or_off<T: Count>(value: &Value) -> Parsed<Option<T>> {
    unless_off(value, NAME, REMEDY, parse)
        .map_err(|problem| too_large(value, T::LARGEST.get()).unwrap_or(problem))
}

fn queue_size(value: &Value) -> Parsed<usize> {
    if is_off(value) {
        return Ok(0);
    }
    let problem = || or_off(value, Problem::no_number(value, "a number", "write a number from 0"));
    let size = value.as_count().filter(|&size| size <= LARGEST_QUEUE);
    size.ok_or_else(|| too_large(value, LARGEST_QUEUE).unwrap_or_else(problem))
}

fn parse<T: Count>(value: &Value) -> Option<T> {
    value.as_count().and_then(NonZeroUsize::new)?.try_into().ok()
}

/// The problem with a number that is too large, if it is one.
fn too_large(value: &Value, largest: usize) -> Option<Problem> {
    let digits = value.text().filter(|text| is_decimal(text))?;
    // Digits that are no `usize` are too many.
    let is_too_large = digits.parse().map_or(true, |number: usize| number > largest);
    is_too_large.then(|| {
        Problem::new(format!("{} is too large", quoted(value)), format!("write at most `{largest}`"))
    })
}

fn percentage(value: &Value) -> Parsed<u32> {
    let digits =
        value.text().map(|text| text.strip_suffix('%').map_or(text, |digits| digits.trim_end_matches(' ')));
    let digits = digits.filter(|digits| is_decimal(digits));
    let percentage = digits.and_then(|digits| digits.parse().ok()).filter(|&percentage| percentage <= 100);
    let problem =
        || never_off(value, Problem::no_number(value, "a percentage", "write one from `0%` to `100%`"));
    percentage.ok_or_else(problem)
}

fn factor(value: &Value) -> Parsed<u32> {
    let is_plain = |text: &&str| {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        is_decimal(whole) && !decimals.is_empty() && decimals.bytes().all(|b| b.is_ascii_digit())
    };
    let factor = value.text().filter(is_plain).and_then(|text| text.parse::<f64>().ok());
    match factor.filter(|factor| (1.01..=100.0).contains(factor)) {
        Some(factor) => Ok((factor * 100.0).round() as u32),
        None => {
            let remedy =
                "write how much more than the mean a server may carry, from `1.01` to `100`, such as `1.5`";
            Err(never_off(value, Problem::no_number(value, "a factor above 1", remedy)))
        }
    }
}

fn threads(value: &Value) -> Parsed<Option<NonZeroUsize>> {
    if value.as_str() == Some("auto") {
        return Ok(None);
    }
    let threads = value.as_count().filter(|&threads| threads <= MAX_THREADS).and_then(NonZeroUsize::new);
    threads.map(Some).ok_or_else(|| {
        Problem::no_number(value, "a number of threads", "write a number from 1 to 1024, or `auto`")
    })
}
