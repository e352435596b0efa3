//! Sub-buffers to entries, CPU after CPU.

use std::hint::black_box;

use tracedat::ring_buffer::SubBuffer;

use super::Work;
use crate::Outcome;
use crate::workload::{Source, Traces};

pub(super) fn works(traces: &Traces) -> Outcome<Vec<Work>> {
    traces.all().map(work).collect()
}

fn work(source: &Source) -> Outcome<Work> {
    let (metadata, trace) = (source.open()?.metadata, source.trace.clone());
    let run = move || {
        let mut entries = 0;
        for cpu in trace.cpus(&metadata) {
            for page in cpu.chunks(metadata.page_size as usize) {
                let page = SubBuffer::parse(page, &metadata.header_page, metadata.abi.byte_order);
                for entry in page.expect("a whole header") {
                    black_box(entry.expect("a whole entry"));
                    entries += 1;
                }
            }
        }
        assert_eq!(entries, trace.events);
    };
    Ok(Work::new(source.name, source.trace.events, source.trace.data_bytes, run))
}
