//! Events that contain the time at which they were sent.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::kit::wire::chunk;

/// Precedes the time in an event, and occurs nowhere else.
const MARK: u8 = b'#';
/// The hexadecimal digits of a time.
const DIGITS: usize = 16;
/// The size of an event without its filler.
const FRAME: usize = "data: #\n\n".len() + DIGITS;

/// The time in ns, of a clock that all processes share.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// Events for one write, each in its own HTTP/1.1 chunk.
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

    /// The events without times.
    pub fn untimed(mut self) -> Vec<u8> {
        for &time in &self.times {
            self.bytes[time..time + DIGITS].fill(b'-');
        }
        self.bytes
    }

    /// The events with the current time.
    pub fn stamped(&mut self) -> &[u8] {
        let now = format!("{:0DIGITS$x}", now());
        for &time in &self.times {
            self.bytes[time..time + DIGITS].copy_from_slice(now.as_bytes());
        }
        &self.bytes
    }
}

/// The number of events that begin in these bytes.
pub fn count(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(MARK, bytes).count() as u64
}

/// The age in ns of the last event whose time is complete in these bytes.
pub fn age(bytes: &[u8]) -> Option<u64> {
    let mark = memchr::memrchr(MARK, bytes)?;
    let time = std::str::from_utf8(bytes.get(mark + 1..mark + 1 + DIGITS)?).ok()?;
    Some(now().saturating_sub(u64::from_str_radix(time, 16).ok()?))
}
