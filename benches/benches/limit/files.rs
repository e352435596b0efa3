//! The files that are reported, made by this program once more.

use std::path::Path;

use trace_benches::Outcome;
use trace_benches::workload::{Traces, trace};
use tracedat::Reader;
use tracedat::compress::Codec;

/// The first words that make this program write a file: `generate EVENTS FILE`, `record EVENTS FILE`.
pub(crate) const GENERATE: &str = "generate";
pub(crate) const RECORD: &str = "record";

pub(crate) fn generate(words: &[String]) -> Outcome<()> {
    let [events, file] = words else { return Err("generate is followed by EVENTS FILE".into()) };
    Ok(std::fs::write(file, &trace(4, events.parse()?, Codec::None).file)?)
}

pub(crate) fn record(words: &[String]) -> Outcome<()> {
    let [events, file] = words else { return Err("record is followed by EVENTS FILE".into()) };
    let traces = Traces::new(events.parse()?)?;
    let recorded = traces.recorded().ok_or("nothing could be recorded")?;
    Ok(std::fs::write(file, &recorded.file)?)
}

/// The events in a file.
pub(crate) fn count(file: &Path) -> Outcome<u64> {
    let Reader { mut records, .. } = Reader::open(file)?;
    let mut events = 0;
    while records.next()?.is_some() {
        events += 1;
    }
    Ok(events)
}
