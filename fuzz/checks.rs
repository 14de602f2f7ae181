//! Invariants for arbitrary bytes. The fuzzers use them, and the tests run them with fewer inputs.

#![allow(dead_code, reason = "each fuzzer uses one of them")]

use std::sync::Arc;

use bytes::BytesMut;
use serde_json::Value;
use sidestream::config;
use sidestream::content_coding::{ContentCoding, Decoder};
use sidestream::exchange::RequestMembers;
use sidestream::http1::{BodyDecoder, Chunk, LAST_CHUNK, RequestHead, RequestParser};

use crate::kit::strict;

/// The limit of decoded text per input, in bytes.
const MAX_TEXT: usize = 1 << 20;

/// An input and its pieces. The first two bytes of the input determine the pieces.
struct Cut<'a> {
    bytes: &'a [u8],
    pieces: Vec<&'a [u8]>,
    /// A small number, for any limit.
    limit: usize,
}

impl<'a> Cut<'a> {
    fn of(input: &'a [u8]) -> Option<Self> {
        let [limit, seed, bytes @ ..] = input else { return None };
        let (mut rest, mut pieces, mut state) = (bytes, Vec::new(), u32::from(*seed));
        while !rest.is_empty() {
            // Any deterministic sequence will do.
            state = state.wrapping_mul(1_103_515_245).wrapping_add(12345);
            let size = rest.len().min(1 + (state >> 16) as usize % 24);
            let (piece, tail) = rest.split_at(size);
            pieces.push(piece);
            rest = tail;
        }
        Some(Self { bytes, pieces, limit: 1 + usize::from(*limit) })
    }
}

/// Configurations: either the file is valid, and its effective form parses to the same configuration, or each
/// error has a location and a remedy.
pub fn configurations(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let variables = |name: &str| (name != "NONE").then(|| "15s".into());
    match config::parse_with(text, "any.yaml", &variables) {
        Ok(config) => {
            let printed = config::effective_yaml(&config);
            let again = config::parse_with(&printed, "printed.yaml", &|_| None);
            let again = again.unwrap_or_else(|error| panic!("{error}\nin\n{printed}"));
            assert_eq!(printed, config::effective_yaml(&again));
            assert_eq!(config.upstreams, again.upstreams);
            assert_eq!((config.stream, config.access_log), (again.stream, again.access_log));
            assert_eq!(config.limits, again.limits);
            let per_client = |routes: &[Arc<config::RouteConfig>]| -> Vec<_> {
                routes.iter().map(|route| route.per_client.clone()).collect()
            };
            assert_eq!(per_client(&config.routes), per_client(&again.routes));
        }
        Err(error) => {
            let error = error.to_string();
            for mistake in error.split("\nerror: ") {
                assert!(mistake.starts_with("any.yaml") && mistake.contains("\n  "), "{error}");
            }
        }
    }
}

/// Content codings: for all splits and buffer sizes, the result is the same, and decoding ends.
pub fn decompression(input: &[u8]) {
    let Some(cut) = Cut::of(input) else { return };
    for coding in [ContentCoding::Gzip, ContentCoding::Deflate, ContentCoding::Brotli, ContentCoding::Zstd] {
        let whole = decode(coding, &[cut.bytes], 64 * 1024);
        let split = decode(coding, &cut.pieces, cut.limit);
        assert_eq!(whole, split, "{coding:?}");
    }
}

/// The text, and whether it may end there. `None` if the input is corrupt or the text too long.
fn decode(coding: ContentCoding, pieces: &[&[u8]], room: usize) -> Option<(Vec<u8>, bool)> {
    let (mut decoder, mut text, mut room) = (Decoder::new(coding), Vec::new(), vec![0; room]);
    for piece in pieces {
        decoder.push(piece);
        while decoder.has_more() {
            let given = decoder.decode(&mut room).ok()?;
            text.extend_from_slice(&room[..given]);
            if text.len() > MAX_TEXT {
                return None;
            }
        }
    }
    Some((text, decoder.finish()))
}

/// Request members: the scanner finds the same members as a JSON parser, for all splits.
pub fn request_members(input: &[u8]) {
    let Some(cut) = Cut::of(input) else { return };
    let (mut members, mut whole) = (RequestMembers::default(), RequestMembers::default());
    for members in [&mut members, &mut whole] {
        members.watch(["user", "model", "stream"].into_iter(), 64);
    }
    cut.pieces.iter().for_each(|piece| members.push(piece));
    whole.push(cut.bytes);
    assert_eq!(members.take_key(), whole.take_key(), "the key depends on the splits");
    // Names with escapes are not recognised.
    let is_plain = !cut.bytes.contains(&b'\\');
    if let Ok(Value::Object(object)) = serde_json::from_slice(cut.bytes)
        && is_plain
    {
        assert_eq!(members.stream(), object.get("stream").and_then(Value::as_bool));
        let model = object.get("model").and_then(Value::as_str).filter(|model| model.len() <= 256);
        assert_eq!(members.model().as_deref(), model);
    }
}

/// The limit of a request head, in bytes.
const MAX_HEAD: usize = 2048;

/// A parsed request: its head, its body, and its length in bytes.
type Read = (RequestHead, Vec<u8>, usize);

/// Pipelined requests: the result does not depend on the splits, and an accepted request has only one
/// meaning, which is that of a strict parser.
pub fn requests(input: &[u8]) {
    let Some(cut) = Cut::of(input) else { return };
    let whole = read_requests(&[cut.bytes]);
    let (cut_up, is_broken) = read_requests(&cut.pieces);
    assert_eq!(is_broken, whole.1, "whether the input is malformed depends on the splits");
    assert_eq!(cut_up.len(), whole.0.len(), "the number of requests depends on the splits");
    let mut rest = cut.bytes;
    for ((head, body, length), (_, other, other_length)) in whole.0.iter().zip(&cut_up) {
        assert_eq!((body, length), (other, other_length), "the end of a request depends on the splits");
        check_forwarded(head, body);
        check_received(rest, head, body, *length);
        rest = &rest[*length..];
    }
}

/// Parses requests like a connection does, up to the first error.
fn read_requests(pieces: &[&[u8]]) -> (Vec<Read>, bool) {
    let (mut input, mut requests, mut taken) = (BytesMut::new(), Vec::new(), 0);
    let (mut parser, mut current) = (RequestParser::default(), None::<(RequestHead, BodyDecoder, Vec<u8>)>);
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            let Some((_, body, content)) = &mut current else {
                match parser.advance(&input, MAX_HEAD) {
                    Err(_) => return (requests, true),
                    Ok(None) => break,
                    Ok(Some(length)) => {
                        let head = parser.head(&input).expect("a head that passed");
                        let _ = input.split_to(length);
                        taken = length;
                        parser = RequestParser::default();
                        let body = head.body();
                        current = Some((head, body, Vec::new()));
                        continue;
                    }
                }
            };
            let before = input.len();
            if !body.is_ended() {
                match body.take(&mut input) {
                    Ok(piece) => content.extend_from_slice(&piece),
                    Err(_) => return (requests, true),
                }
            }
            taken += before - input.len();
            if !body.is_ended() {
                break;
            }
            if let Some((head, _, content)) = current.take() {
                requests.push((head, content, taken));
            }
        }
    }
    (requests, false)
}

/// The forwarded request has only one meaning. `Upgrade` is forwarded only for upgrades, so it is removed.
fn check_forwarded(head: &RequestHead, body: &[u8]) {
    let mut head = head.forwarded(|name| !name.eq_ignore_ascii_case(b"Upgrade"));
    if head.host().is_none() {
        // HTTP/1.0 requests may lack it.
        head.fields.set("Host", "test");
    }
    let Some(mut wire) = head.to_wire() else { panic!("an accepted target cannot be serialised") };
    if head.fields.contains("Transfer-Encoding") {
        if !body.is_empty() {
            Chunk::of(body).pieces().into_iter().for_each(|piece| wire.extend_from_slice(piece));
        }
        wire.extend_from_slice(LAST_CHUNK);
    } else {
        wire.extend_from_slice(body);
    }
    match strict::read(&wire) {
        Ok(Some((request, length))) => {
            assert_eq!((length, &request.body[..]), (wire.len(), body), "{}", String::from_utf8_lossy(&wire));
        }
        other => panic!("{other:?}: {}", String::from_utf8_lossy(&wire)),
    }
}

/// If the strict parser accepts the received bytes, it gives the same result.
fn check_received(bytes: &[u8], head: &RequestHead, body: &[u8], length: usize) {
    if let Ok(Some((request, strict_length))) = strict::read(bytes) {
        let same = (&request.method[..], request.target.as_bytes(), &request.body[..], strict_length);
        // Bytes of the target that are not UTF-8 are compared by their replacement character.
        let target = String::from_utf8_lossy(head.target());
        assert_eq!(same, (head.method.as_str(), target.as_bytes(), body, length));
        assert_eq!(request.values("host"), head.host().into_iter().collect::<Vec<_>>());
    }
}
