//! Sizes in bytes.

use super::ValueShape::{AnyOf, Count, Off};
use super::{Parsed, Problem, ValueKind, ValueShape, is_off, never_off, or_off, quoted, shown_or_off};
use crate::config::tree::{Value, is_decimal};
use crate::session::Heartbeats;

/// A request head is buffered before it can be judged, so its size has an upper bound.
const MAX_HEADER_SIZE: usize = 1 << 20;

const REMEDY: &str = "write a number and a unit, such as `64KiB` or `1MiB`";

const SHAPE: ValueShape = Count { from: 1, to: u64::MAX, or: "^[1-9][0-9]*(?: *(?:B|KiB|MiB|GiB))?$" };

/// Greater than zero: `64KiB`, `1MiB` or a plain number.
pub const SIZE: ValueKind<usize> =
    ValueKind { name: "size", shape: SHAPE, read: size, show: usize::to_string };

pub const SIZE_OR_OFF: ValueKind<Option<usize>> = ValueKind {
    name: "size or `off`",
    shape: AnyOf(&[SHAPE, Off]),
    read: size_or_off,
    show: |size| shown_or_off(size.as_ref(), usize::to_string),
};

/// Of a request head.
pub const HEADER_SIZE: ValueKind<usize> = ValueKind {
    name: "size, at most `1MiB`",
    shape: Count { from: 1, to: MAX_HEADER_SIZE as u64, or: "^[1-9][0-9]*(?: *(?:B|KiB|MiB))?$" },
    read: header_size,
    show: usize::to_string,
};

/// Of `heartbeat_padding`; `off` is zero.
pub const PADDING: ValueKind<Heartbeats> = ValueKind {
    name: "size from `0` to `64KiB`",
    shape: AnyOf(&[
        Count {
            from: 0,
            to: Heartbeats::MAX_PADDING as u64,
            or: "^(?:0|0B|0KiB|[1-9][0-9]*(?: *(?:B|KiB))?)$",
        },
        Off,
    ]),
    read: padding,
    show: |heartbeats| heartbeats.padding().to_string(),
};

fn size(value: &Value) -> Parsed<usize> {
    parse(value).ok_or_else(|| never_off(value, no_size(value, REMEDY)))
}

fn size_or_off(value: &Value) -> Parsed<Option<usize>> {
    if is_off(value) {
        return Ok(None);
    }
    let problem = || or_off(value, no_size(value, &format!("{REMEDY}, or `off`")));
    parse(value).map(Some).ok_or_else(problem)
}

fn header_size(value: &Value) -> Parsed<usize> {
    match size(value)? {
        size if size <= MAX_HEADER_SIZE => Ok(size),
        _ => Err(too_much(value, "1MiB")),
    }
}

fn padding(value: &Value) -> Parsed<Heartbeats> {
    if is_off(value) || matches!(value.text(), Some("0" | "0B" | "0KiB")) {
        return Ok(Heartbeats::padded(0));
    }
    let remedy = "write a number and a unit, such as `4KiB`, or `0`";
    let size = parse(value).ok_or_else(|| or_off(value, no_size(value, remedy)))?;
    if size <= Heartbeats::MAX_PADDING { Ok(Heartbeats::padded(size)) } else { Err(too_much(value, "64KiB")) }
}

fn too_much(value: &Value, most: &str) -> Problem {
    Problem::new(format!("{} is too much", quoted(value)), format!("write at most `{most}`"))
}

fn parse(value: &Value) -> Option<usize> {
    let (digits, factor) = parts(value)?;
    digits.parse::<usize>().ok()?.checked_mul(factor).filter(|&bytes| bytes > 0)
}

/// The digits of a size, and how many bytes its unit is.
fn parts(value: &Value) -> Option<(&str, usize)> {
    let text = value.text()?;
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (digits, unit) = text.split_at(digits);
    let factor = match unit.trim_start_matches(' ') {
        "" if unit.is_empty() => 1,
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    is_decimal(digits).then_some((digits, factor))
}

/// The problem with what is no size of at least a byte.
fn no_size(value: &Value, remedy: &str) -> Problem {
    match parts(value) {
        // It does not fit a `usize`.
        Some((digits, _)) if digits != "0" => too_much(value, "1048576GiB"),
        _ => Problem::no_number(value, "a size", remedy),
    }
}
