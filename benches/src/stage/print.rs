//! Records to the text of their print formats, without what stands before it in a line.

use tracedat::Metadata;
use tracedat::print_fmt::PrintContext;
use tracedat::ring_buffer::SubBuffer;

use super::Work;
use crate::Outcome;
use crate::workload::{Source, Trace, Traces};

pub(super) fn works(traces: &Traces) -> Outcome<Vec<Work>> {
    traces.all().map(work).collect()
}

fn work(source: &Source) -> Outcome<Work> {
    let (metadata, trace) = (source.open()?.metadata, source.trace.clone());
    let mut text = Vec::new();
    let expected = print(&metadata, &trace, &mut text);
    assert!(expected > 10 * trace.events, "{expected} bytes of text");
    let run = move || assert_eq!(print(&metadata, &trace, &mut text), expected);
    Ok(Work::new(source.name, source.trace.events, expected, run))
}

/// Returns how many bytes it was.
fn print(metadata: &Metadata, trace: &Trace, text: &mut Vec<u8>) -> u64 {
    let (context, byte_order) = (PrintContext::new(metadata), metadata.abi.byte_order);
    let mut bytes = 0;
    for cpu in trace.cpus(metadata) {
        for page in cpu.chunks(metadata.page_size as usize) {
            let page = SubBuffer::parse(page, &metadata.header_page, byte_order);
            for entry in page.expect("a whole header") {
                let (_, data) = entry.expect("a whole entry");
                let id = data.first_chunk().map(|id| byte_order.u16(*id)).expect("an id");
                let event = metadata.event_by_id(id).expect("an event with a format");
                event.print(data, &context, text);
            }
            bytes += text.len() as u64;
            text.clear();
        }
    }
    bytes
}
