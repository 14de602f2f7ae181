//! What must hold for any bytes. The fuzzers drive it, and the tests do with fewer inputs, so that it stays true.

#![allow(dead_code, reason = "each fuzzer drives one of them")]

use std::sync::Arc;

use bytes::BytesMut;
use serde_json::Value;
use sidestream::config;
use sidestream::content_coding::{ContentCoding, Decoder};
use sidestream::exchange::RequestMembers;
use sidestream::http1::{BodyDecoder, Chunk, LAST_CHUNK, RequestHead, RequestParser};

use crate::kit::strict;

/// Text that one input may become before its decoding is given up.
const MAX_TEXT: usize = 1 << 20;

/// An input and how it is cut: its first two bytes say that.
struct Cut<'a> {
    bytes: &'a [u8],
    pieces: Vec<&'a [u8]>,
    /// A small number for whatever is to be small.
    limit: usize,
}

impl<'a> Cut<'a> {
    fn of(input: &'a [u8]) -> Option<Self> {
        let [limit, seed, bytes @ ..] = input else { return None };
        let (mut rest, mut pieces, mut state) = (bytes, Vec::new(), u32::from(*seed));
        while !rest.is_empty() {
            // Any sequence does that depends on nothing but the seed.
            state = state.wrapping_mul(1_103_515_245).wrapping_add(12345);
            let size = rest.len().min(1 + (state >> 16) as usize % 24);
            let (piece, tail) = rest.split_at(size);
            pieces.push(piece);
            rest = tail;
        }
        Some(Self { bytes, pieces, limit: 1 + usize::from(*limit) })
    }
}

/// Configurations: a file is one to run on, and then what is printed of it is the same; or each mistake has its place and its remedy.
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

/// Content codings: whatever the splits and the room, the same text comes out or none does, and always some end.
pub fn decompression(input: &[u8]) {
    let Some(cut) = Cut::of(input) else { return };
    for coding in [ContentCoding::Gzip, ContentCoding::Deflate, ContentCoding::Brotli, ContentCoding::Zstd] {
        let whole = decode(coding, &[cut.bytes], 64 * 1024);
        let split = decode(coding, &cut.pieces, cut.limit);
        assert_eq!(whole, split, "{coding:?}");
    }
}

/// The text, and whether it may end there. `None`: it is corrupt, or too long for a check.
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

/// The members of a request body: found as a parser of JSON finds them, whatever the splits.
pub fn request_members(input: &[u8]) {
    let Some(cut) = Cut::of(input) else { return };
    let (mut members, mut whole) = (RequestMembers::default(), RequestMembers::default());
    for members in [&mut members, &mut whole] {
        members.watch(["user", "model", "stream"].into_iter(), 64);
    }
    cut.pieces.iter().for_each(|piece| members.push(piece));
    whole.push(cut.bytes);
    assert_eq!(members.take_key(), whole.take_key(), "the splits decide what the key is");
    // A name with an escape in it is not looked at.
    let is_plain = !cut.bytes.contains(&b'\\');
    if let Ok(Value::Object(object)) = serde_json::from_slice(cut.bytes)
        && is_plain
    {
        assert_eq!(members.stream(), object.get("stream").and_then(Value::as_bool));
        let model = object.get("model").and_then(Value::as_str).filter(|model| model.len() <= 256);
        assert_eq!(members.model().as_deref(), model);
    }
}

/// Bytes of a head that are let pass here.
const MAX_HEAD: usize = 2048;

/// A request as it was read: its head, the content of its body, and how many bytes it has.
type Read = (RequestHead, Vec<u8>, usize);

/// Requests one after the other on a connection: the splits do not matter, and what passes has one meaning, which is that of the
/// strictest reader.
pub fn requests(input: &[u8]) {
    let Some(cut) = Cut::of(input) else { return };
    let whole = read_requests(&[cut.bytes]);
    let (cut_up, is_broken) = read_requests(&cut.pieces);
    assert_eq!(is_broken, whole.1, "the splits decide whether it is broken");
    assert_eq!(cut_up.len(), whole.0.len(), "the splits decide how many requests there are");
    let mut rest = cut.bytes;
    for ((head, body, length), (_, other, other_length)) in whole.0.iter().zip(&cut_up) {
        assert_eq!((body, length), (other, other_length), "the splits decide where a request ends");
        check_forwarded(head, body);
        check_received(rest, head, body, *length);
        rest = &rest[*length..];
    }
}

/// Reads as a connection does: nothing after what cannot be read.
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

/// What goes upstream of it can be read in one way. `Upgrade` goes there only where it is asked for.
fn check_forwarded(head: &RequestHead, body: &[u8]) {
    let mut head = head.forwarded(|name| !name.eq_ignore_ascii_case(b"Upgrade"));
    if head.host().is_none() {
        // HTTP/1.0 may name none.
        head.fields.set("Host", "test");
    }
    let Some(mut wire) = head.to_wire() else { panic!("a target that passed and cannot be written") };
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

/// Where the strictest reader takes it as it came, it is the same to both.
fn check_received(bytes: &[u8], head: &RequestHead, body: &[u8], length: usize) {
    if let Ok(Some((request, strict_length))) = strict::read(bytes) {
        let same = (&request.method[..], request.target.as_bytes(), &request.body[..], strict_length);
        // A target beyond ASCII is shown with what stands for it.
        let target = String::from_utf8_lossy(head.target());
        assert_eq!(same, (head.method.as_str(), target.as_bytes(), body, length));
        assert_eq!(request.values("host"), head.host().into_iter().collect::<Vec<_>>());
    }
}
