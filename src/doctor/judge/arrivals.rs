//! What arrived of a stream, unit by unit, and when.

use crate::session::BoundaryScanner;

/// Milliseconds since a request was sent, or since its head had arrived at the origin. The two are of different clocks, so only
/// differences of one kind are ever compared with differences of the other.
pub type Millis = f64;

/// One read of a body: everything before `end` had arrived by `at`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Read {
    pub at: Millis,
    /// Offset in the decoded body.
    pub end: usize,
}

/// How a body is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Units {
    /// Events and comments of an event stream.
    Events,
    Lines,
}

/// An event, a comment or a line that has arrived whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    /// The number that its origin gave it; a comment has none.
    pub number: Option<usize>,
    pub is_comment: bool,
    pub bytes: usize,
    /// When its first byte was there.
    pub first_at: Millis,
    /// When its last byte was there.
    pub at: Millis,
    /// The longest time between its bytes in which nothing came.
    pub pause: Millis,
}

/// Divides a body into what it consists of. What is not whole is left out.
pub fn arrivals(body: &[u8], reads: &[Read], units: Units) -> Vec<Arrival> {
    let mut found = Vec::new();
    let (mut start, mut reads) = (0, reads);
    for end in ends(body, units) {
        let unit = &body[start..end];
        let leading = unit.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
        // Offsets only grow.
        reads = &reads[reads.partition_point(|read| read.end <= start + leading)..];
        let last = reads.partition_point(|read| read.end < end);
        if leading < unit.len()
            && let (Some(first), Some(whole)) = (reads.first(), reads.get(last))
        {
            let is_comment = units == Units::Events && unit[leading..].starts_with(b":");
            let number = if is_comment { None } else { number(&unit[leading..]) };
            let pause = reads[..=last].windows(2).map(|pair| pair[1].at - pair[0].at).fold(0.0, f64::max);
            let (first_at, at) = (first.at, whole.at);
            found.push(Arrival { number, is_comment, bytes: unit.len(), first_at, at, pause });
        }
        start = end;
    }
    found
}

fn ends(body: &[u8], units: Units) -> Vec<usize> {
    match units {
        Units::Events => {
            let mut ends = Vec::new();
            BoundaryScanner::default().scan(body, |end, _| ends.push(end));
            ends
        }
        Units::Lines => memchr::memchr_iter(b'\n', body).map(|at| at + 1).collect(),
    }
}

/// The number that stands in what a probe origin has sent: after `"n":`, or as all that there is.
fn number(unit: &[u8]) -> Option<usize> {
    let digits = match memchr::memmem::find(unit, b"\"n\":") {
        Some(at) => &unit[at + 4..],
        None => unit.strip_prefix(b"data: ").unwrap_or(unit),
    };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&digits[..length]).ok()?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    fn reads(of: &[(f64, usize)]) -> Vec<Read> {
        of.iter().map(|(at, end)| Read { at: *at, end: *end }).collect()
    }

    #[test]
    fn events_and_comments_arrive_when_their_last_byte_does() {
        let body = b"data: 0000\n\n: beat\n\nid: 1\ndata: {\"n\":1,\"ms\":5.0}\n\ndata: 00";
        let found =
            arrivals(body, &reads(&[(1.0, 6), (2.0, 12), (3.0, 30), (9.0, body.len())]), Units::Events);
        let times: Vec<_> = found.iter().map(|a| (a.number, a.is_comment, a.first_at, a.at)).collect();
        assert_eq!(times, [(Some(0), false, 1.0, 2.0), (None, true, 3.0, 3.0), (Some(1), false, 3.0, 9.0)]);
    }

    #[test]
    fn lines_are_numbered_too() {
        let body = b"{\"n\":0}\n00012\n";
        let found = arrivals(body, &reads(&[(1.0, body.len())]), Units::Lines);
        assert_eq!(found.iter().map(|a| a.number).collect::<Vec<_>>(), [Some(0), Some(12)]);
    }
}
