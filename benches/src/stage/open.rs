//! A file to its first record: heads and options are read, formats and symbols are not looked into.

use std::hint::black_box;

use tracedat::Reader;
use tracedat::compress::Codec;

use super::Work;
use crate::Outcome;
use crate::workload::{Source, Traces};

pub(super) fn works(traces: &Traces) -> Outcome<Vec<Work>> {
    traces.all().map(work).collect()
}

fn work(source: &Source) -> Outcome<Work> {
    let file = source.packed(Codec::Zstd)?.file;
    let run = move || {
        let Reader { metadata, mut records } = Reader::parse(file.clone()).expect("a whole trace");
        let first = records.next().expect("a whole trace").expect("a record");
        assert!(first.ticks > 0);
        black_box(metadata.buffers.len());
    };
    Ok(Work::new(source.name, 1, 0, run))
}
