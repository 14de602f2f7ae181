//! What the fuzzers check for hours, here for a moment: arbitrary bytes, and bytes that look like what they parse.

use proptest::prelude::*;

#[path = "../../fuzz/checks.rs"]
mod checks;

#[path = "../../fuzz/session.rs"]
mod session;

/// Bytes with many of the words that parsers look for.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let words = include_str!("../../fuzz/tokens.dict").lines().filter_map(unquoted).collect::<Vec<_>>();
    let piece = prop_oneof![
        3 => prop::sample::select(words),
        1 => prop::collection::vec(any::<u8>(), 0..6),
        1 => prop::sample::select(vec![b"\n".to_vec(), b"\r".to_vec(), b"{".to_vec(), b"}".to_vec(), b",".to_vec()]),
    ];
    let pieces = prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat());
    (prop::collection::vec(any::<u8>(), 2..24), pieces).prop_map(|(head, bytes)| [head, bytes].concat())
}

/// Text with many of the words that configuration files are made of.
fn configuration() -> impl Strategy<Value = Vec<u8>> {
    let words =
        include_str!("../../fuzz/configuration.dict").lines().filter_map(unquoted).collect::<Vec<_>>();
    let beginning = prop_oneof![
        Just(Vec::new()),
        Just(
            b"listeners: [{ address: 127.0.0.1:0 }]\nupstreams: { llm: { servers: [http://a.test] } }\n"
                .to_vec()
        )
    ];
    let pieces = prop::collection::vec(prop::sample::select(words), 0..12);
    (beginning, pieces).prop_map(|(beginning, pieces)| [beginning, pieces.concat()].concat())
}

/// The bytes of one line of the fuzzers' dictionary.
fn unquoted(line: &str) -> Option<Vec<u8>> {
    let text = line.strip_prefix('"')?.strip_suffix('"')?.replace("\\\"", "\"");
    let mut parts = text.split("\\x");
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some(bytes)
}

proptest! {
    #[test]
    fn sessions_hold(input in input()) {
        session::session(&input);
    }

    #[test]
    fn configurations_hold(input in configuration()) {
        checks::configurations(&input);
    }

    #[test]
    fn content_codings_hold(input in input()) {
        checks::decompression(&input);
    }

    #[test]
    fn requests_hold(input in input()) {
        checks::requests(&input);
    }

    #[test]
    fn request_members_hold(input in input()) {
        checks::request_members(&input);
    }
}
