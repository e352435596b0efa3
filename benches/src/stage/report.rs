//! A compressed file in memory to lines of text, by one thread and by several.

use std::num::NonZeroUsize;

use tracedat::Reader;
use tracedat::compress::Codec;
use tracedat::read::Merge;
use tracedat::report::{Report, ReportInput, ReportOptions};

use super::Work;
use crate::Outcome;
use crate::workload::{Trace, Traces};

pub(super) fn works(traces: &Traces) -> Outcome<Vec<Work>> {
    let mut works = Vec::new();
    for source in traces.all() {
        let trace = source.packed(Codec::Zstd)?;
        let expected = print(&trace, 1);
        let lines = expected.split(|&byte| byte == b'\n').filter(|line| is_event(line)).count();
        assert!(lines as u64 >= trace.events, "{lines} lines for {} events", trace.events);
        for threads in [1, 2] {
            assert!(print(&trace, threads) == expected, "{threads} threads print something else");
            let (trace, len) = (trace.clone(), expected.len());
            let (name, events) = (format!("{threads}_threads/{}", source.name), trace.events);
            let run = move || assert_eq!(print(&trace, threads).len(), len);
            let work = Work::new(name, events, len as u64, run);
            works.push(if threads == 1 { work } else { work.unsteady() });
        }
    }
    Ok(works)
}

/// Whether a line has a CPU in brackets.
fn is_event(line: &[u8]) -> bool {
    line.windows(2).any(|pair| pair == b"] ")
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
