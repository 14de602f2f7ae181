//! Each write downstream holds whole events and nothing else, whatever fragments the backend wrote.

use std::sync::Arc;

use proptest::prelude::*;
use sidestream::event_stream::{Format, Rechunker, Tail};
use tokio::sync::Notify;

use crate::support::{Backend, LAST_CHUNK, STREAM_HEAD, Sidestream, chunk};

/// Mixes every line end, comments, multi-byte UTF-8, empty data and a byte order mark.
const MIXED: &[u8] = "\u{feff}data: first\n\n: comment\r\ndata: zwei \u{1F980}\r\ndata: \u{e9}\r\n\r\n\
    data\n\ndata:\r\revent: x\rdata: y\r\rid: 1\n\ndata: a\n\r\ndata: b\r\n\ndata: c\r\n\rdata: d\n\n: end\n\n"
    .as_bytes();

fn ends_after_a_blank_line(bytes: &[u8]) -> bool {
    let text: Vec<u8> = bytes.to_vec();
    [&b"\n\n"[..], b"\r\r", b"\n\r", b"\r\n\r\n", b"\n\r\n", b"\r\r\n", b"\r\n\n"]
        .iter()
        .any(|end| text.ends_with(end))
}

/// What the relay would write now.
fn written(rechunker: &Rechunker) -> &[u8] {
    if rechunker.awaits_lf() { &[] } else { rechunker.ready() }
}

/// Takes the clean end of a stream, as the relay does.
fn finish(rechunker: &mut Rechunker) {
    if rechunker.finish(|_| {}) == Tail::Incomplete {
        rechunker.release_incomplete();
    }
}

fn rechunk(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut rechunker = Rechunker::new(Format::EventStream, 1 << 20);
    let mut chunks = Vec::new();
    for piece in pieces {
        rechunker.push(piece, |_| {});
        if !written(&rechunker).is_empty() {
            chunks.push(written(&rechunker).to_vec());
            rechunker.consume();
        }
    }
    finish(&mut rechunker);
    if !rechunker.ready().is_empty() {
        chunks.push(rechunker.ready().to_vec());
    }
    chunks
}

#[test]
fn a_split_at_any_byte_gives_whole_events_and_the_same_bytes() {
    for at in 0..=MIXED.len() {
        let chunks = rechunk(&[&MIXED[..at], &MIXED[at..]]);
        assert_eq!(chunks.concat(), MIXED, "split at {at}");
        for chunk in &chunks {
            assert!(ends_after_a_blank_line(chunk), "split at {at}: {:?}", String::from_utf8_lossy(chunk));
        }
    }
}

#[test]
fn bytes_that_come_one_by_one_give_whole_events_and_the_same_bytes() {
    let pieces: Vec<&[u8]> = MIXED.chunks(1).collect();
    let chunks = rechunk(&pieces);
    assert_eq!(chunks.concat(), MIXED);
    assert!(chunks.iter().all(|chunk| ends_after_a_blank_line(chunk)));
}

/// Streams made of the pieces that matter, so that line ends meet in every way.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        Just("\n"),
        Just("\r"),
        Just("\r\n"),
        Just("data: x"),
        Just("data:"),
        Just("data"),
        Just(": c"),
        Just("id: 1"),
        Just("event: e"),
        Just("\u{feff}"),
        Just("\u{1F980}"),
        Just("dat"),
        Just("\0"),
    ];
    prop::collection::vec(token, 0..60).prop_map(|tokens| tokens.concat().into_bytes())
}

/// The same bytes, cut at arbitrary places.
fn cut<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|i| i.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect()
}

proptest! {
    #[test]
    fn any_split_of_any_stream_loses_nothing_and_counts_the_same_events(
        bytes in stream(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)
    ) {
        let mut whole = Rechunker::new(Format::EventStream, 1 << 20);
        whole.push(&bytes, |_| {});
        let mut split = Rechunker::new(Format::EventStream, 1 << 20);
        let mut out = Vec::new();
        for piece in cut(&bytes, &cuts) {
            split.push(piece, |_| {});
            out.extend_from_slice(written(&split));
            if !written(&split).is_empty() {
                split.consume();
            }
        }
        prop_assert_eq!(split.events(), whole.events());
        finish(&mut split);
        out.extend_from_slice(split.ready());
        finish(&mut whole);
        prop_assert_eq!(&out[..], whole.ready());
        prop_assert!(out.starts_with(&bytes) && out.len() <= bytes.len() + 1);
    }

    #[test]
    fn a_small_hold_back_limit_loses_nothing_either(
        bytes in prop::collection::vec(any::<u8>(), 0..400), limit in 1usize..40,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)
    ) {
        let mut rechunker = Rechunker::new(Format::EventStream, limit);
        let mut out = Vec::new();
        for piece in cut(&bytes, &cuts) {
            rechunker.push(piece, |_| {});
            out.extend_from_slice(rechunker.ready());
            rechunker.consume();
        }
        finish(&mut rechunker);
        out.extend_from_slice(rechunker.ready());
        prop_assert!(out.starts_with(&bytes) && out.len() <= bytes.len() + 1);
    }
}

#[tokio::test]
async fn a_split_at_any_byte_reaches_the_client_as_whole_events() {
    let backend = Backend::script(|mut exchange| async move {
        while let Some(head) = exchange.request().await {
            let at: usize = head.split(['/', ' ']).nth(2).and_then(|n| n.parse().ok()).expect("a path");
            exchange.send(STREAM_HEAD).await;
            if at > 0 {
                exchange.send(chunk(&MIXED[..at])).await;
            }
            // The first part must have been read alone for the split to be one.
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            if at < MIXED.len() {
                exchange.send(chunk(&MIXED[at..])).await;
            }
            exchange.send(LAST_CHUNK).await;
        }
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    for at in 0..=MIXED.len() {
        assert_eq!(client.get(&format!("/{at}")).await.status, 200);
        let chunks = client.chunks().await;
        assert_eq!(chunks.concat(), MIXED, "split at {at}");
        for chunk in &chunks {
            assert!(ends_after_a_blank_line(chunk), "split at {at}: {:?}", String::from_utf8_lossy(chunk));
        }
    }
}

#[tokio::test]
async fn an_event_goes_out_as_soon_as_its_blank_line_is_read() {
    for event in ["data: a\n\n", "data: a\r\r", "data: a\r\n\r\n", "data: a\r\n\r"] {
        let backend = Backend::script(move |mut exchange| async move {
            exchange.request().await;
            exchange.send(STREAM_HEAD).await;
            exchange.send(chunk(event)).await;
            exchange.closed().await;
        })
        .await;
        let proxy = Sidestream::in_front_of(&backend).await;
        let mut client = proxy.client().await;
        client.get("/").await;
        assert_eq!(client.chunk().await.as_deref(), Some(event.as_bytes()));
    }
}

#[tokio::test]
async fn response_headers_go_out_before_the_first_event() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(STREAM_HEAD).await;
        exchange.closed().await;
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    assert_eq!(proxy.client().await.get("/").await.status, 200);
}

#[tokio::test]
async fn an_event_beyond_the_hold_back_limit_passes_through_unheld() {
    let seen = Arc::new(Notify::new());
    let client_saw = seen.clone();
    let backend = Backend::script(move |mut exchange| {
        let seen = seen.clone();
        async move {
            exchange.request().await;
            exchange.send(STREAM_HEAD).await;
            exchange.send(chunk("data: 0123456789")).await;
            seen.notified().await;
            exchange.send(chunk("abc\n\ndata: next\n\nda")).await;
            exchange.send(chunk("ta: b\n\n")).await;
            exchange.send(LAST_CHUNK).await;
        }
    })
    .await;
    let proxy = Sidestream::with(&backend, "max_event_size: 8B").await;
    let mut client = proxy.client().await;
    client.get("/").await;
    assert_eq!(client.chunk().await.as_deref(), Some(&b"data: 0123456789"[..]));
    client_saw.notify_one();
    assert_eq!(client.text().await, "abc\n\ndata: next\n\ndata: b\n\n");
}

#[tokio::test]
async fn a_missing_last_blank_line_is_completed_at_a_clean_end() {
    let backend = Backend::that_answers(
        [STREAM_HEAD.as_bytes(), &chunk("data: a\n\ndata: b\n"), LAST_CHUNK.as_bytes()].concat(),
    )
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = proxy.client().await;
    client.get("/").await;
    assert_eq!(client.text().await, "data: a\n\ndata: b\n\n");
}
