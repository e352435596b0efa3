//! The way of an event from file to line: reading, then all of it as text.

use std::hint::black_box;
use std::num::NonZeroUsize;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use trace_benches::workload::{Trace, trace};
use tracedat::Reader;
use tracedat::compress::Codec;
use tracedat::read::Merge;
use tracedat::report::{Report, ReportInput, ReportOptions};

const EVENTS: u32 = 100_000;

/// All records, merged by time, nothing decoded.
fn records(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("records");
    for codec in Codec::ALL {
        let trace = trace(4, EVENTS, codec);
        group.throughput(Throughput::ElementsAndBytes {
            elements: trace.events,
            bytes: trace.data_bytes,
        });
        group.bench_with_input(BenchmarkId::from_parameter(codec), &trace, |bencher, trace| {
            bencher.iter(|| assert_eq!(walk(trace), trace.events));
        });
    }
    group.finish();
}

/// All records as lines, by one thread and by several.
fn report(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("report");
    let trace = trace(4, EVENTS, Codec::Zstd);
    let expected = print(&trace, 1);
    let text = String::from_utf8_lossy(&expected);
    let lines = text.lines().filter(|line| line.contains("] ")).count() as u64;
    assert!(lines >= trace.events, "{lines} lines for {} events", trace.events);
    group.throughput(Throughput::Elements(trace.events));
    for threads in [1, 2, 4] {
        assert!(print(&trace, threads) == expected, "{threads} threads print something else");
        group.bench_with_input(BenchmarkId::new("threads", threads), &trace, |bencher, trace| {
            bencher.iter(|| assert_eq!(black_box(print(trace, threads)).len(), expected.len()));
        });
    }
    group.finish();
}

fn walk(trace: &Trace) -> u64 {
    let Reader { mut records, .. } = Reader::parse(trace.file.clone()).expect("a whole trace");
    let mut count = 0;
    while let Some(record) = records.next().expect("a whole trace") {
        black_box(record.data);
        count += 1;
    }
    count
}

fn print(trace: &Trace, threads: usize) -> Vec<u8> {
    let reader = Reader::parse(trace.file.clone()).expect("a whole trace");
    let (files, mut records) = Merge::new(vec![reader]);
    let inputs = [ReportInput { name: "trace.dat", metadata: &files[0] }];
    let mut options = ReportOptions::default();
    options.threads = NonZeroUsize::new(threads);
    let mut text = Vec::new();
    Report::new(options).print(&inputs, &mut records, &mut text).expect("a whole trace");
    text
}

criterion_group!(benches, records, report);
criterion_main!(benches);
