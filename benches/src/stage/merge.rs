//! A file in memory to records, oldest first: by compression, by number of CPUs, and of several files.

use std::hint::black_box;

use tracedat::Reader;
use tracedat::compress::Codec;
use tracedat::read::Merge;

use super::Work;
use crate::Outcome;
use crate::workload::{Trace, Traces, interleaved};

pub(super) fn works(traces: &Traces) -> Outcome<Vec<Work>> {
    let mut works = Vec::new();
    for source in traces.all() {
        for codec in Codec::ALL {
            let name = format!("{}/{codec}", source.name);
            works.push(work(name, vec![source.packed(codec)?]));
        }
    }
    let events = traces.events;
    for cpus in [1, 16, 256] {
        let trace = interleaved(20, cpus, events, Codec::None);
        works.push(work(format!("interleaved/{cpus}_cpus"), vec![trace]));
    }
    let files = (0..16).map(|seed| interleaved(seed, 1, events / 16, Codec::None));
    works.push(work("interleaved/16_files", files.collect()));
    Ok(works)
}

fn work(name: impl Into<String>, traces: Vec<Trace>) -> Work {
    let events = traces.iter().map(|trace| trace.events).sum();
    let bytes = traces.iter().map(|trace| trace.data_bytes).sum();
    let run = move || assert_eq!(walk(&traces), events);
    Work::new(name, events, bytes, run)
}

fn walk(traces: &[Trace]) -> u64 {
    let open = |trace: &Trace| Reader::parse(trace.file.clone()).expect("a whole trace");
    let (_, mut records) = Merge::new(traces.iter().map(open).collect());
    let (mut count, mut last) = (0, 0);
    while let Some((_, record)) = records.next().expect("a whole trace") {
        black_box(record.data);
        assert!(record.time >= last, "out of order");
        (count, last) = (count + 1, record.time);
    }
    count
}
