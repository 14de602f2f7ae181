//! Sizes in bytes.

use super::ValueShape::{AnyOf, Count, Off};
use super::{
    Parsed, Problem, ValueKind, ValueShape, is_off, never_off, or_off, quoted, shown_or_off, unless_off,
};
use crate::config::tree::Value;
use crate::session::Heartbeats;

/// A request head is buffered before it can be judged, so its size has an upper bound.
const MAX_HEADER_SIZE: usize = 1 << 20;

const REMEDY: &str = "write a number and a unit, such as `64KiB` or `1MiB`";

const SHAPE: ValueShape = Count { from: 1, to: u64::MAX, or: "^0*[1-9][0-9]* *(?:B|KiB|MiB|GiB)?$" };

/// Greater than zero: `64KiB`, `1MiB` or a plain number.
pub const SIZE: ValueKind<usize> =
    ValueKind { name: "size", shape: SHAPE, read: size, show: usize::to_string };

pub const SIZE_OR_OFF: ValueKind<Option<usize>> = ValueKind {
    name: "size or `off`",
    shape: AnyOf(&[SHAPE, Off]),
    read: |value| unless_off(value, "a size", REMEDY, parse),
    show: |size| shown_or_off(size.as_ref(), usize::to_string),
};

/// Of a request head.
pub const HEADER_SIZE: ValueKind<usize> = ValueKind {
    name: "size, at most `1MiB`",
    shape: Count { from: 1, to: MAX_HEADER_SIZE as u64, or: "^0*[1-9][0-9]* *(?:B|KiB|MiB)?$" },
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
            or: "^(?:0|0B|0KiB|0*[1-9][0-9]* *(?:B|KiB)?)$",
        },
        Off,
    ]),
    read: padding,
    show: |heartbeats| heartbeats.padding().to_string(),
};

fn size(value: &Value) -> Parsed<usize> {
    parse(value).ok_or_else(|| never_off(value, Problem::not(value, "a size", REMEDY)))
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
    let size = parse(value).ok_or_else(|| or_off(value, Problem::not(value, "a size", remedy)))?;
    if size <= Heartbeats::MAX_PADDING { Ok(Heartbeats::padded(size)) } else { Err(too_much(value, "64KiB")) }
}

fn too_much(value: &Value, most: &str) -> Problem {
    Problem::new(format!("{} is too much", quoted(value)), format!("write at most `{most}`"))
}

fn parse(value: &Value) -> Option<usize> {
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
