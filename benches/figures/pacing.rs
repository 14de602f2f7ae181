//! `coalesce`: the number of writes to a client while events arrive, and the delay of the first event.

use std::time::Instant;

use crate::backend::{Backend, NUMBERED, NUMBERED_EVENTS, numbered};
use crate::client::Client;
use crate::kit::wire::{first_chunk, head_length};
use crate::numbers::{Sample, ms};
use crate::proxy::Proxy;

/// Streams of which only the first event is measured.
const FIRSTS: usize = 50;

pub async fn measure() {
    let backend = Backend::start().await;
    println!("\n## coalesce, {NUMBERED_EVENTS} events at 100 events/s\n");
    println!(
        "| coalesce | writes/s at the client | first event, median | p99 | order and bytes |\n|---|---|---|---|---|"
    );
    for coalesce in ["off", "20ms", "50ms", "200ms"] {
        let proxy = Proxy::sidestream(backend.address, &format!("coalesce: {coalesce}"));
        let mut firsts = Vec::new();
        for _ in 0..FIRSTS {
            let asked = Instant::now();
            Client::get(proxy.address, NUMBERED).await.read_until(numbered(0).as_bytes()).await;
            firsts.push(asked.elapsed());
        }
        let firsts = Sample::new(firsts);
        let mut client = Client::get(proxy.address, NUMBERED).await;
        let (mut stream, mut writes, mut began) = (Vec::new(), 0_u32, None);
        while !stream.ends_with(b"\r\n0\r\n\r\n") {
            let bytes = client.read().await;
            assert!(!bytes.is_empty(), "the stream broke");
            stream.extend_from_slice(bytes);
            began.get_or_insert_with(Instant::now);
            writes += 1;
        }
        let seconds = began.map_or(0.0, |began| began.elapsed().as_secs_f64());
        let expected: String = (0..NUMBERED_EVENTS).map(numbered).collect();
        let kept = if unchunked(&stream) == expected.as_bytes() { "unchanged" } else { "CHANGED" };
        let rate = f64::from(writes) / seconds;
        let (median, p99) = (ms(firsts.percentile(50)), ms(firsts.percentile(99)));
        println!("| {coalesce} | {rate:.1} | {median} | {p99} | {kept} |");
    }
}

/// The decoded body of a chunked response.
fn unchunked(response: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut rest = &response[head_length(response).expect("a head")..];
    while let Some((data, length)) = first_chunk(rest).expect("a chunk") {
        body.extend_from_slice(&rest[data]);
        rest = &rest[length..];
    }
    body
}
