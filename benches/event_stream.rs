//! The event-stream core by itself: ns per event and bytes per second, without sockets.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sidestream::event_stream::dialect::{Dialect, Recognizer};
use sidestream::event_stream::{Event, Format, Rechunker};

/// Bytes of one event.
const EVENT: usize = 120;
/// What the relay gathers before it writes.
const BATCH: usize = 64 * 1024;

/// Whole events of one size, with this line end.
fn events(count: usize, line_end: &str) -> Vec<u8> {
    let filler = "x".repeat(EVENT - "data: ".len() - 2 * line_end.len());
    format!("data: {filler}{line_end}{line_end}").repeat(count).into_bytes()
}

fn rechunk(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rechunk");
    let cases = [
        ("one event per read", events(1, "\n")),
        ("one event per read, CRLF", events(1, "\r\n")),
        ("a full batch", events(BATCH / EVENT, "\n")),
        ("a full batch, CRLF", events(BATCH / EVENT, "\r\n")),
    ];
    for (name, bytes) in cases {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| {
            let mut rechunker = Rechunker::new(Format::EventStream, 1 << 20);
            bencher.iter(|| {
                rechunker.push(black_box(&bytes), |_| {});
                black_box(rechunker.ready());
                rechunker.consume();
            });
        });
    }
    let torn = events(1, "\n");
    group.throughput(Throughput::Bytes(torn.len() as u64));
    group.bench_function("one event in single bytes", |bencher| {
        bencher.iter_batched_ref(
            || Rechunker::new(Format::EventStream, 1 << 20),
            |rechunker| torn.chunks(1).for_each(|byte| rechunker.push(black_box(byte), |_| {})),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// What it costs to know what the events mean, beside only finding where they end.
fn recognise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("recognise");
    let chat = r#"{"id":"c1","object":"chat.completion.chunk","choices":[{"delta":{"content":" word"},"finish_reason":null}]}"#;
    let anthropic = concat!(
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,",
        "\"delta\":{\"type\":\"text_delta\",\"text\":\" wor\"}}"
    );
    let responses = concat!(
        "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",",
        "\"sequence_number\":7,\"delta\":\" wo\"}"
    );
    let chat = format!("data: {chat}\n\n");
    let (anthropic, responses) = (format!("{anthropic}\n\n"), format!("{responses}\n\n"));
    let generic = String::from_utf8_lossy(&events(1, "\n")).into_owned();
    group.throughput(Throughput::Elements(1));
    for (name, event, recognizer) in [
        ("boundaries only", &chat, None),
        ("openai", &chat, Some(Dialect::OpenAi)),
        ("anthropic", &anthropic, Some(Dialect::Anthropic)),
        ("responses", &responses, Some(Dialect::Responses)),
        ("generic", &generic, Some(Dialect::Generic)),
    ] {
        assert!((112..=128).contains(&event.len()), "{name}: {}", event.len());
        group.bench_function(name, |bencher| {
            let mut rechunker = Rechunker::new(Format::EventStream, 1 << 20);
            let mut recognizer = recognizer.map(|dialect| Recognizer::new(Some(dialect), None));
            bencher.iter(|| {
                rechunker.push(black_box(event.as_bytes()), |block| {
                    if let (Some(recognizer), Some(event)) =
                        (&mut recognizer, Event::of(Format::EventStream, block))
                    {
                        recognizer.observe(&event);
                    }
                });
                black_box(rechunker.ready());
                rechunker.consume();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, rechunk, recognise);
criterion_main!(benches);
