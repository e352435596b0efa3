//! Records to those that a filter keeps, by the filter's program alone.

use tracedat::Metadata;
use tracedat::filter::{Filter, FilterContext, Program};
use tracedat::ring_buffer::SubBuffer;

use super::Work;
use crate::Outcome;
use crate::workload::{Source, Trace, Traces};

const NUMBERS: &str = "sched_switch: next_pid != 0 && prev_prio >= 100";
const TEXT: &str = r#"sched_switch: next_comm =~ "er/1." || prev_comm == "kworker""#;

pub(super) fn works(traces: &Traces) -> Outcome<Vec<Work>> {
    let mut works = Vec::new();
    for source in traces.all() {
        works.push(work("numbers", NUMBERS, source)?);
        works.push(work("text", TEXT, source)?);
    }
    Ok(works)
}

fn work(name: &str, filter: &str, source: &Source) -> Outcome<Work> {
    let (metadata, trace) = (source.open()?.metadata, source.trace.clone());
    let (id, program) = compile(&metadata, &Filter::parse(filter)?).ok_or("no such event")?;
    let (all, kept) = count(&metadata, &trace, id, &program);
    // What runs while the kernel is recorded is not known.
    assert!(source.name == "recorded" || (kept > 0 && kept < all), "{kept} of {all} are kept");
    let run = move || assert_eq!(count(&metadata, &trace, id, &program), (all, kept));
    let name = format!("{name}/{}", source.name);
    Ok(Work::new(name, source.trace.events, source.trace.data_bytes, run))
}

/// The program for the event that the filter is about, and its id.
fn compile(metadata: &Metadata, filter: &Filter) -> Option<(u16, Program)> {
    let ids = metadata.event_texts().filter_map(|text| text.id);
    let mut formats = ids.filter_map(|id| Some(&metadata.event_by_id(id)?.format));
    formats.find_map(|format| Some((format.id, filter.for_event(format)?.compile())))
}

/// How many records are of the event, and how many of them are kept.
fn count(metadata: &Metadata, trace: &Trace, id: u16, program: &Program) -> (u64, u64) {
    let comm = |pid| metadata.tasks().comm(pid);
    let byte_order = metadata.abi.byte_order;
    let (mut all, mut kept) = (0, 0);
    for (cpu, bytes) in (0..).zip(trace.cpus(metadata)) {
        let context = FilterContext { cpu, comm: &comm, names: metadata };
        for page in bytes.chunks(metadata.page_size as usize) {
            let page = SubBuffer::parse(page, &metadata.header_page, byte_order);
            for entry in page.expect("a whole header") {
                let (_, data) = entry.expect("a whole entry");
                if data.first_chunk().is_some_and(|found| byte_order.u16(*found) == id) {
                    all += 1;
                    kept += u64::from(program.matches(data, &context));
                }
            }
        }
    }
    (all, kept)
}
