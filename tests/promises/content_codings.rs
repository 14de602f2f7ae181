//! A compressed stream is decoded as it comes, event by event.

use compression_codecs::brotli::params::EncoderParams;
use compression_codecs::core::Level;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::{BrotliEncoder, DeflateEncoder, EncodeV2, GzipEncoder, ZlibEncoder, ZstdEncoder};
use proptest::prelude::*;
use sidestream::content_coding::{ContentCoding, Corrupt, Decoder};

use crate::kit::{Backend, LAST_CHUNK, Sidestream, Within, chunk, until};

const CODINGS: [ContentCoding; 4] =
    [ContentCoding::Gzip, ContentCoding::Deflate, ContentCoding::Brotli, ContentCoding::Zstd];

/// The name of each coding and what makes it; `deflate` in both formats that are sent under its name.
fn encoders() -> [(&'static str, Box<dyn EncodeV2>); 5] {
    [
        ("gzip", Box::new(GzipEncoder::new(Level::Default.into()))),
        ("deflate", Box::new(ZlibEncoder::new(Level::Default.into()))),
        ("deflate", Box::new(DeflateEncoder::new(Level::Default.into()))),
        ("br", Box::new(BrotliEncoder::new(EncoderParams::default()))),
        ("zstd", Box::new(ZstdEncoder::new(3))),
    ]
}

/// Encodes these texts, flushed after each; returns the bytes of each and of the end.
fn encode(encoder: &mut dyn EncodeV2, texts: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut room = vec![0; 1 << 20];
    let mut pieces = Vec::new();
    for text in texts {
        let mut output = WriteBuffer::new_initialized(&mut room[..]);
        encoder.encode(&mut PartialBuffer::new(text), &mut output).expect("room");
        while !encoder.flush(&mut output).expect("room") {}
        pieces.push(output.written().to_vec());
    }
    let mut output = WriteBuffer::new_initialized(&mut room[..]);
    while !encoder.finish(&mut output).expect("room") {}
    pieces.push(output.written().to_vec());
    pieces
}

/// Decodes all that is there, with so much room each time.
fn decode(decoder: &mut Decoder, room: usize) -> Result<Vec<u8>, Corrupt> {
    let (mut text, mut room) = (Vec::new(), vec![0; room]);
    while decoder.has_more() {
        let given = decoder.decode(&mut room)?;
        text.extend_from_slice(&room[..given]);
    }
    Ok(text)
}

fn coding(name: &str) -> ContentCoding {
    ContentCoding::named(name.as_bytes()).expect("a known coding")
}

#[test]
fn each_flushed_text_is_decoded_at_once_whatever_the_room() {
    let long = "data: 0123456789\n\n".repeat(1000);
    let texts = [&b"data: a\n\n"[..], b"data: b\n\n", long.as_bytes()];
    for room in [1, 7, 20, 64 * 1024] {
        for (name, mut encoder) in encoders() {
            let pieces = encode(&mut *encoder, &texts);
            let mut decoder = Decoder::new(coding(name));
            for (piece, text) in pieces.iter().zip(texts) {
                decoder.push(piece);
                assert!(decode(&mut decoder, room).as_deref() == Ok(text), "{name} with room {room}");
                assert!(!decoder.finish(), "{name}");
            }
            decoder.push(&pieces[texts.len()]);
            assert_eq!(decode(&mut decoder, room), Ok(Vec::new()), "{name}");
            assert!(decoder.finish(), "{name} with room {room}");
        }
    }
}

#[test]
fn a_body_of_nothing_is_whole_and_garbage_is_corrupt() {
    for coding in CODINGS {
        let mut decoder = Decoder::new(coding);
        assert!(!decoder.has_more() && decoder.finish());
        decoder.push(&[0xFF; 64]);
        assert_eq!(decode(&mut decoder, 100), Err(Corrupt), "{coding:?}");
    }
    // libzstd would read this as a format from before the standard.
    let mut decoder = Decoder::new(ContentCoding::Zstd);
    decoder.push(b"\x27\xB5\x2F\xFD");
    assert_eq!(decode(&mut decoder, 100), Err(Corrupt));
}

#[test]
fn several_members_follow_each_other_where_the_format_allows_it() {
    for (name, mut encoder) in encoders() {
        let mut body = encode(&mut *encoder, &[b"data: a\n\n"]).concat();
        body.extend_from_within(..);
        let mut decoder = Decoder::new(coding(name));
        decoder.push(&body);
        let expected = match name {
            "gzip" | "zstd" => Ok(b"data: a\n\ndata: a\n\n".to_vec()),
            _ => Err(Corrupt),
        };
        assert_eq!(decode(&mut decoder, 100), expected, "{name}");
    }
}

proptest! {
    #[test]
    fn any_split_and_any_room_give_the_same_text(
        texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10), room in 1usize..300
    ) {
        let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        for (name, mut encoder) in encoders() {
            let body = encode(&mut *encoder, &texts).concat();
            let mut at: Vec<usize> = cuts.iter().map(|i| i.index(body.len() + 1)).collect();
            at.extend([0, body.len()]);
            at.sort_unstable();
            let (mut decoder, mut text) = (Decoder::new(coding(name)), Vec::new());
            for pair in at.windows(2) {
                decoder.push(&body[pair[0]..pair[1]]);
                text.extend(decode(&mut decoder, room).expect("a valid body"));
            }
            prop_assert_eq!(&text, &texts.concat(), "{}", name);
            prop_assert!(decoder.finish(), "{}", name);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_always_come_to_an_end(
        bytes in prop::collection::vec(any::<u8>(), 0..400), room in 1usize..300
    ) {
        for coding in CODINGS {
            let mut decoder = Decoder::new(coding);
            decoder.push(&bytes);
            let _ = decode(&mut decoder, room);
            decoder.finish();
        }
    }
}

fn head(coding: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: {coding}\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    )
}

#[tokio::test]
async fn each_event_of_a_compressed_stream_arrives_decoded_as_it_is_sent() {
    const EVENTS: [&[u8]; 2] = [b"data: a\n\n", b"data: b\n\n"];
    for (name, mut encoder) in encoders() {
        let pieces = encode(&mut *encoder, &EVENTS);
        let backend = Backend::script(move |mut exchange| {
            let pieces = pieces.clone();
            async move {
                exchange.request().await;
                exchange.send(head(name)).await;
                exchange.send(chunk(&pieces[0])).await;
                // The client asks for the next event when it has this one.
                exchange.request().await;
                exchange.send(chunk(&pieces[1])).await;
                exchange.send([chunk(&pieces[2]), LAST_CHUNK.into()].concat()).await;
                exchange.closed().await;
            }
        })
        .await;
        let proxy = Sidestream::in_front_of(&backend).await;
        let mut client = proxy.client().await;
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\n").await;
        let response = client.response().await;
        assert!(response.fields("content-encoding").is_empty(), "{name}");
        assert_eq!(client.chunk().await.as_deref(), Some(EVENTS[0]), "{name}");
        client.send("\r\n\r\n").await;
        assert_eq!(client.text().await.as_bytes(), EVENTS[1], "{name}");
    }
}

#[tokio::test]
async fn a_compressed_stream_that_breaks_or_is_none_ends_in_an_error_event() {
    let mut gzip = GzipEncoder::new(Level::Default.into());
    let cut = encode(&mut gzip, &[b"data: a\n\n"])[0].clone();
    for (body, before, code) in
        [(&b"this is no gzip"[..], "", "upstream_invalid"), (&cut, "data: a\n\n", "upstream_truncated")]
    {
        let response = [head("gzip").into_bytes(), chunk(body), LAST_CHUNK.into()].concat();
        let backend = Backend::that_answers(response).await;
        let proxy = Sidestream::in_front_of(&backend).await;
        let mut client = proxy.client().await;
        client.get("/").await;
        let stream = client.broken_text().await;
        let error = stream.strip_prefix(before).expect("the whole events");
        assert!(error.starts_with("event: error\n") && error.contains(code), "{stream}");
    }
}

#[tokio::test]
async fn a_few_compressed_bytes_that_become_many_are_relayed_in_bounded_pieces() {
    const SIZE: usize = 64 << 20;
    let bomb = {
        let mut encoder = ZstdEncoder::new(3);
        let event = [&b"data: "[..], &vec![b'x'; (1 << 20) - 8], b"\n\n"].concat();
        let pieces = encode(&mut encoder, &vec![&event[..]; SIZE >> 20]);
        pieces.concat()
    };
    assert!(bomb.len() < SIZE / 1000, "{}", bomb.len());
    let response = [head("zstd").into_bytes(), chunk(&bomb), LAST_CHUNK.into()].concat();
    let backend = Backend::that_answers(response).await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.get("/").await;
    let mut size = 0;
    while let Some(chunk) = client.chunk().await {
        assert!(chunk.len() < 3 << 20, "{}", chunk.len());
        size += chunk.len();
    }
    assert_eq!(size, SIZE);
}

/// The `Accept-Encoding` that reaches the backend.
async fn accepted_upstream(request: &str) -> String {
    let mut backend = Backend::that_never_answers().await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.send(request).await;
    let head = backend.saw_request().await.to_ascii_lowercase();
    head.split("accept-encoding: ").nth(1).and_then(|rest| rest.lines().next()).unwrap_or("none").to_owned()
}

#[tokio::test]
async fn a_request_for_a_stream_asks_the_backend_for_no_compression() {
    let post = |body: &str| {
        let length = body.len();
        format!(
            "POST / HTTP/1.1\r\nHost: t\r\nAccept-Encoding: gzip, br\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    for (expected, request) in [
        ("identity", post(r#"{"model":"m","stream":true}"#)),
        (
            "identity",
            "GET / HTTP/1.1\r\nHost: t\r\nAccept: text/event-stream\r\nAccept-Encoding: gzip\r\n\r\n".to_owned(),
        ),
        ("gzip, br", post(r#"{"model":"m","stream":false}"#)),
        ("gzip, br", post(r#"{"prompt":"\"stream\":true"}"#)),
        ("gzip", "GET / HTTP/1.1\r\nHost: t\r\nAccept-Encoding: gzip\r\n\r\n".to_owned()),
        (
            "gzip",
            "POST / HTTP/1.1\r\nHost: t\r\nAccept-Encoding: gzip\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
                .to_owned(),
        ),
        ("none", "GET / HTTP/1.1\r\nHost: t\r\nAccept: text/event-stream\r\n\r\n".to_owned()),
    ] {
        assert_eq!(accepted_upstream(&request).await, expected, "{request}");
    }
}

#[tokio::test]
async fn a_body_that_arrives_after_its_head_still_asks_for_no_compression() {
    let mut backend = Backend::that_never_answers().await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    let body = r#"{"stream":true}"#;
    let fields = format!("Accept-Encoding: gzip\r\nContent-Length: {}", body.len());
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{fields}\r\n\r\n")).await;
    until(async || (backend.connections() > 0).then_some(())).soon().await;
    client.send(body).await;
    let head = backend.saw_request().await.to_ascii_lowercase();
    assert!(head.contains("accept-encoding: identity\r\n"), "{head}");
}
