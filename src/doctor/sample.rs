//! What a probe origin sends, as functions of the order: the origin writes it, and the probe compares what has arrived with it.

use super::order::{MAX_SIZE, MediaType, Shape, StreamOrder};

/// Bytes from which an event has room for more than its number.
const ROOMY: usize = 64;
/// The latest time that an event can say, in milliseconds: what is later would take its room.
const LATEST: f64 = 99_999_999.9;
/// The end of an event.
const BLANK: &[u8] = b"\n\n";

/// Writes of each event of the sample.
pub const SAMPLE_PIECES: u32 = 3;

/// Events of this stream.
pub fn count(order: &StreamOrder) -> u32 {
    match order.shape {
        Shape::Events | Shape::Comments => order.events,
        // There are a handful.
        Shape::Sample => u32::try_from(sample().len()).unwrap_or(u32::MAX),
    }
}

/// The writes of its event `n`, counted from 0. `ms`: since the request had arrived.
pub fn writes(order: &StreamOrder, n: u32, ms: f64) -> Vec<Vec<u8>> {
    match order.shape {
        Shape::Sample => sample().into_iter().nth(n as usize).map(Vec::from).unwrap_or_default(),
        Shape::Events | Shape::Comments => split(&event(order, n, ms), order.pieces as usize),
    }
}

/// Event `n` of a stream of numbered ones, or the comment in its place: exactly as many bytes as were ordered.
pub fn event(order: &StreamOrder, n: u32, ms: f64) -> Vec<u8> {
    let is_comment = order.shape == Shape::Comments && n > 0 && n + 1 < order.events;
    let (size, ms) = (order.size as usize, ms.clamp(0.0, LATEST));
    match order.media_type {
        MediaType::EventStream if is_comment => framed(b": ", |room| fill(n, room), BLANK, size),
        MediaType::EventStream if size < ROOMY => framed(b"data: ", |room| numbered(n, room), BLANK, size),
        MediaType::EventStream => {
            let begin = format!("id: {n}\ndata: {{\"n\":{n},\"ms\":{ms:.1},\"fill\":\"");
            framed(begin.as_bytes(), |room| fill(n, room), b"\"}\n\n", size)
        }
        MediaType::Plain | MediaType::Ndjson if size < ROOMY => {
            framed(b"", |room| numbered(n, room), b"\n", size)
        }
        MediaType::Plain | MediaType::Ndjson => {
            let begin = format!("{{\"n\":{n},\"ms\":{ms:.1},\"fill\":\"");
            framed(begin.as_bytes(), |room| fill(n, room), b"\"}\n", size)
        }
    }
}

/// `filling`: as many bytes as there is room.
fn framed(begin: &[u8], filling: impl Fn(usize) -> Vec<u8>, end: &[u8], size: usize) -> Vec<u8> {
    let room = size.saturating_sub(begin.len() + end.len());
    [begin, &filling(room), end].concat()
}

fn numbered(n: u32, digits: usize) -> Vec<u8> {
    format!("{n:0digits$}").into_bytes()
}

/// Letters and digits that hardly compress: always the same for the same event.
fn fill(n: u32, length: usize) -> Vec<u8> {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut state = u64::from(n);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // SplitMix64 (Steele, Lea, Flood 2014): the same in every version, which a library's generator need not be.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        bytes.extend(mixed.to_le_bytes().map(|byte| ALPHABET[usize::from(byte) % ALPHABET.len()]));
    }
    bytes.truncate(length);
    bytes
}

/// In so many pieces of about the same length, or as many as there are bytes.
fn split(bytes: &[u8], pieces: usize) -> Vec<Vec<u8>> {
    let pieces = pieces.clamp(1, bytes.len().max(1));
    let bound = |piece: usize| piece * bytes.len() / pieces;
    (0..pieces).map(|piece| bytes[bound(piece)..bound(piece + 1)].to_vec()).collect()
}

/// A body that a faithful hop passes byte for byte: all line ends, all fields, comments, trailing spaces, characters of several
/// bytes, and a large event. Each event in the writes that it is sent in, which part CR from LF and the bytes of a character.
pub fn sample() -> Vec<[Vec<u8>; SAMPLE_PIECES as usize]> {
    let small: [[&[u8]; SAMPLE_PIECES as usize]; 9] = [
        [b"data: ends w", b"ith LF", b"\n\n"],
        [b"data: ends with CRLF\r", b"\n\r", b"\n"],
        [b"data: ends with CR", b"\r", b"\r"],
        [b"event: named\ni", b"d: 17\nretry: 3000\n", b"data: all fields\n\n"],
        [b"data: several\ndata\ndata:", b"lines\r\ndata:  of ", b"data\n\n"],
        [b": a com", b"ment", b"\n\n"],
        [b"data: trailing spaces  ", b"  \ndata:\t\n", b"\n"],
        // The euro sign and a face, of three and four bytes.
        [b"data: \xe2\x82", b"\xac \xf0\x9f", b"\x98\x80 \xc3\xa9\n\n"],
        [b"data: {\"json\": ", b"[1, 2.50, \"\\u00e9\"]", b"}\r\n\r\n"],
    ];
    let size = MAX_SIZE as usize;
    let large = split(&framed(b"data: ", |room| fill(0, room), BLANK, size), SAMPLE_PIECES as usize);
    let mut events: Vec<_> = small.map(|event| event.map(<[u8]>::to_vec)).into();
    events.extend(<[Vec<u8>; SAMPLE_PIECES as usize]>::try_from(large).ok());
    events.push([&b"data: the"[..], b" last", b" one\n\n"].map(<[u8]>::to_vec));
    events
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;
    use crate::doctor::order::RunName;

    fn order(media_type: MediaType, shape: Shape, size: u32, pieces: u32) -> StreamOrder {
        let run = RunName::new("a").expect("a name");
        StreamOrder { media_type, shape, size, pieces, events: 10_000, ..StreamOrder::new(run) }
    }

    #[test]
    fn every_event_has_exactly_the_size_that_was_ordered() {
        for size in (12..=300).chain([1_000, 4_096, 16_384, 65_535, 65_536]) {
            for media_type in [MediaType::EventStream, MediaType::Plain, MediaType::Ndjson] {
                let order = order(media_type, Shape::Events, size, 1);
                for (n, ms) in [(0, 0.0), (7, 300.04), (9_999, 3_600_000.0), (9_999, 1e12)] {
                    let event = event(&order, n, ms);
                    assert_eq!(event.len(), size as usize, "{media_type:?} {n} {ms}");
                    assert!(event.ends_with(b"\n"));
                }
            }
            let order = order(MediaType::EventStream, Shape::Comments, size, 1);
            let events = [0, 1, 9_998, 9_999].map(|n| event(&order, n, 1.0));
            assert_eq!(events.each_ref().map(|event| event.starts_with(b": ")), [false, true, true, false]);
            assert!(events.iter().all(|event| event.len() == size as usize && event.ends_with(b"\n\n")));
        }
    }

    #[test]
    fn events_look_as_they_are_described() {
        let text = |media_type, size, n, ms| {
            let order = order(media_type, Shape::Events, size, 1);
            String::from_utf8(event(&order, n, ms)).expect("UTF-8")
        };
        assert_eq!(text(MediaType::EventStream, 12, 7, 1.0), "data: 0007\n\n");
        assert_eq!(text(MediaType::EventStream, 14, 9_999, 1.0), "data: 009999\n\n");
        assert_eq!(text(MediaType::Plain, 12, 7, 1.0), "00000000007\n");
        let event = text(MediaType::EventStream, 64, 3, 312.44);
        assert!(event.starts_with("id: 3\ndata: {\"n\":3,\"ms\":312.4,\"fill\":\""), "{event}");
        assert!(event.ends_with("\"}\n\n"), "{event}");
        let line = text(MediaType::Ndjson, 200, 3, 0.0);
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&line["n"], &line["ms"]), (&3.into(), &0.0.into()));
    }

    #[test]
    fn what_fills_an_event_depends_on_its_number_alone_and_never_changes() {
        assert_eq!(fill(1, 24), fill(1, 64)[..24]);
        assert_ne!(fill(1, 24), fill(2, 24));
        assert_eq!(String::from_utf8(fill(0, 16)).expect("ASCII"), FILL_OF_0);
    }

    /// Origin and probe may be of different versions.
    const FILL_OF_0: &str = "pJTzviWewdzbiYwm";

    #[test]
    fn an_event_in_pieces_is_the_same_event() {
        for (size, pieces, expected) in [(12, 1, 1), (200, 3, 3), (13, 12, 12), (12, 64, 12)] {
            let order = order(MediaType::EventStream, Shape::Events, size, pieces);
            let writes = writes(&order, 5, 1.0);
            assert_eq!(writes.len(), expected);
            assert!(writes.iter().all(|write| !write.is_empty()));
            assert_eq!(writes.concat(), event(&order, 5, 1.0));
        }
    }

    #[test]
    fn the_sample_has_what_hops_get_wrong() {
        let sample = sample();
        let body = sample.iter().flatten().flatten().copied().collect::<Vec<u8>>();
        assert!(String::from_utf8(body).is_ok());
        assert!(sample.iter().flatten().all(|write| !write.is_empty()));
        let large = sample.iter().map(|event| event.concat().len()).max();
        assert_eq!(large, Some(65_536));
        let torn = sample.iter().flatten().any(|write| std::str::from_utf8(write).is_err());
        let parts_crlf = |event: &[Vec<u8>; 3]| event[0].ends_with(b"\r") && event[1].starts_with(b"\n");
        assert!(torn && sample.iter().any(parts_crlf));
    }
}
