//! The event-stream core by itself: ns per event and bytes per second, without sockets.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sidestream::event_stream::Rechunker;

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
            let mut rechunker = Rechunker::new(1 << 20);
            bencher.iter(|| {
                rechunker.push(black_box(&bytes));
                black_box(rechunker.ready());
                rechunker.consume();
            });
        });
    }
    let torn = events(1, "\n");
    group.throughput(Throughput::Bytes(torn.len() as u64));
    group.bench_function("one event in single bytes", |bencher| {
        bencher.iter_batched_ref(
            || Rechunker::new(1 << 20),
            |rechunker| torn.chunks(1).for_each(|byte| rechunker.push(black_box(byte))),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, rechunk);
criterion_main!(benches);
