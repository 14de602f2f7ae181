//! The events that are sent, with the time of their sending in them.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::kit::wire::chunk;

/// Before the time of an event; nothing else in it has this byte.
const MARK: u8 = b'#';
/// Hexadecimal digits of a time.
const DIGITS: usize = 16;
/// What an event has beside its filler.
const FRAME: usize = "data: #\n\n".len() + DIGITS;

/// ns of a clock that all processes share.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// Some events in HTTP/1.1 chunks of their own, written at once.
pub struct Events {
    bytes: Vec<u8>,
    times: Vec<usize>,
}

impl Events {
    /// `size`: bytes of one event.
    pub fn new(size: usize, count: usize) -> Self {
        let filler = "x".repeat(size.saturating_sub(FRAME));
        let event = format!("data: #{}{filler}\n\n", "0".repeat(DIGITS));
        let chunk = chunk(event);
        let mark = memchr::memchr(MARK, &chunk).map_or(0, |mark| mark + 1);
        let times = (0..count).map(|index| index * chunk.len() + mark).collect();
        Self { bytes: chunk.repeat(count), times }
    }

    /// Without a time.
    pub fn untimed(mut self) -> Vec<u8> {
        for &time in &self.times {
            self.bytes[time..time + DIGITS].fill(b'-');
        }
        self.bytes
    }

    /// With the time of now.
    pub fn stamped(&mut self) -> &[u8] {
        let now = format!("{:0DIGITS$x}", now());
        for &time in &self.times {
            self.bytes[time..time + DIGITS].copy_from_slice(now.as_bytes());
        }
        &self.bytes
    }
}

/// How many events begin in these bytes.
pub fn count(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(MARK, bytes).count() as u64
}

/// The age in ns of the last event whose time is whole in these bytes.
pub fn age(bytes: &[u8]) -> Option<u64> {
    let mark = memchr::memrchr(MARK, bytes)?;
    let time = std::str::from_utf8(bytes.get(mark + 1..mark + 1 + DIGITS)?).ok()?;
    Some(now().saturating_sub(u64::from_str_radix(time, 16).ok()?))
}
