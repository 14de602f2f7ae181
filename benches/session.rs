//! The event-stream core alone, without sockets: ns per event and bytes per second.

use std::hint::black_box;
use std::time::Instant;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sidestream::session::{Asked, Format, Policy, Session, Setup};

/// The size of an event, in bytes.
const EVENT: usize = 120;
/// The maximum batch that the relay collects before it writes.
const BATCH: usize = 64 * 1024;

/// Whole events of [`EVENT`] bytes with this line end.
fn events(count: usize, line_end: &str) -> Vec<u8> {
    let filler = "x".repeat(EVENT - "data: ".len() - 2 * line_end.len());
    format!("data: {filler}{line_end}{line_end}").repeat(count).into_bytes()
}

fn session(policy: &Policy) -> Session {
    let now = Instant::now();
    Session::new(Setup {
        policy,
        format: Format::EventStream,
        conversion: None,
        dialect: None,
        asked: Asked::default(),
        sent: now,
        written: None,
        end: None,
        now,
    })
}

/// Passes bytes through the session.
fn pass(session: &mut Session, bytes: &[u8], now: Instant) {
    session.handle_bytes(black_box(bytes), now);
    black_box(session.poll_write(now));
    session.handle_written(now);
}

fn rechunk(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rechunk");
    let cases = [
        ("one event per read", events(1, "\n")),
        ("one event per read, CRLF", events(1, "\r\n")),
        ("a full batch", events(BATCH / EVENT, "\n")),
        ("a full batch, CRLF", events(BATCH / EVENT, "\r\n")),
    ];
    let (policy, now) = (Policy::default(), Instant::now());
    for (name, bytes) in cases {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| {
            let mut session = session(&policy);
            bencher.iter(|| pass(&mut session, &bytes, now));
        });
    }
    let torn = events(1, "\n");
    group.throughput(Throughput::Bytes(torn.len() as u64));
    group.bench_function("one event in single bytes", |bencher| {
        bencher.iter_batched_ref(
            || session(&policy),
            |session| torn.chunks(1).for_each(|byte| session.handle_bytes(black_box(byte), now)),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// The cost of recognising the meaning of events.
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
    let own = r#"data: {"id":"0001","kind":"an application's own","token":" word","padding":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}"#;
    group.throughput(Throughput::Elements(1));
    let (policy, now) = (Policy::default(), Instant::now());
    for (name, event) in [
        ("openai", format!("data: {chat}\n\n")),
        ("anthropic", format!("{anthropic}\n\n")),
        ("responses", format!("{responses}\n\n")),
        ("generic", format!("{own}\n\n")),
    ] {
        assert!((112..=128).contains(&event.len()), "{name}: {}", event.len());
        group.bench_function(name, |bencher| {
            let mut session = session(&policy);
            bencher.iter(|| pass(&mut session, event.as_bytes(), now));
            assert_eq!(session.dialect().name, name);
        });
    }
    group.finish();
}

criterion_group!(benches, rechunk, recognise);
criterion_main!(benches);
