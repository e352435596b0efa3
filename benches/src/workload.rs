//! Seeded traces, so that every run and every machine measures the same bytes.

use std::io::Cursor;
use std::sync::Arc;

use tracedat::compress::Codec;
use tracedat::convert::convert;
use tracedat::testing::{TraceBuilder, Workload};
use tracedat::write::Version;
use tracedat::{Metadata, Reader};

use crate::{Outcome, recording};

/// What the stages work on.
#[derive(Debug)]
pub struct Traces {
    /// Events that a stage is measured with.
    pub events: u32,
    generated: Source,
    recorded: Option<Source>,
}

/// An uncompressed trace, and where it comes from.
#[derive(Debug)]
pub struct Source {
    /// `generated` or `recorded`.
    pub name: &'static str,
    /// The trace.
    pub trace: Trace,
}

impl Traces {
    /// Makes `events` events, and records about as many of the running kernel; without those, and with the reason,
    /// where it cannot.
    ///
    /// # Errors
    ///
    /// What was recorded cannot be read.
    pub fn new(events: u32) -> Outcome<Self> {
        let recorded = match recording::record(events) {
            Ok(file) => Some(Trace::of_file(file.into())?),
            Err(reason) => {
                println!("recorded: skipped: {reason}");
                None
            }
        };
        Ok(Self::from_parts(events, recorded))
    }

    /// The same with a recording of before.
    pub fn from_parts(events: u32, recorded: Option<Trace>) -> Self {
        let trace = trace(4, events, Codec::None);
        let generated = Source { name: "generated", trace };
        let recorded = recorded.map(|trace| Source { name: "recorded", trace });
        Self { events, generated, recorded }
    }

    /// The traces there are.
    pub fn all(&self) -> impl Iterator<Item = &Source> {
        [&self.generated].into_iter().chain(&self.recorded)
    }

    /// What was recorded, where that could be.
    pub fn recorded(&self) -> Option<&Trace> {
        self.recorded.as_ref().map(|source| &source.trace)
    }
}

impl Source {
    /// The trace, read.
    ///
    /// # Errors
    ///
    /// It is damaged.
    pub fn open(&self) -> Outcome<Reader> {
        Ok(Reader::parse(self.trace.file.clone())?)
    }

    /// The same trace, compressed.
    ///
    /// # Errors
    ///
    /// It is damaged.
    pub fn packed(&self, codec: Codec) -> Outcome<Trace> {
        let mut file = Cursor::new(Vec::new());
        convert(&self.open()?.metadata, &mut file, Version::V7, codec)?;
        Ok(Trace { file: file.into_inner().into(), ..self.trace })
    }
}

/// A whole file in memory, and what is in it.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The file.
    pub file: Arc<[u8]>,
    /// Events in it.
    pub events: u64,
    /// Bytes of sub-buffers, before compression.
    pub data_bytes: u64,
}

impl Trace {
    /// A file without compression, of which the events are counted.
    ///
    /// # Errors
    ///
    /// It is damaged.
    pub fn of_file(file: Arc<[u8]>) -> Outcome<Self> {
        let Reader { metadata, mut records } = Reader::parse(file.clone())?;
        let mut events = 0;
        while records.next()?.is_some() {
            events += 1;
        }
        let trace = Self { file, events, data_bytes: 0 };
        let data_bytes = trace.cpus(&metadata).map(|cpu| cpu.len() as u64).sum();
        Ok(Self { data_bytes, ..trace })
    }

    /// The sub-buffers of each CPU, one behind the other, in a file without compression.
    pub fn cpus<'a>(&'a self, metadata: &'a Metadata) -> impl Iterator<Item = &'a [u8]> {
        let cpus = metadata.buffers.iter().flat_map(|buffer| &buffer.cpus);
        cpus.map(|cpu| &self.file[cpu.offset as usize..][..cpu.size as usize])
    }
}

/// A file of version 7 with `events` events on `cpus` CPUs: scheduling, interrupts, memory,
/// system calls, and some lost events.
pub fn trace(cpus: u32, events: u32, codec: Codec) -> Trace {
    make(Workload { cpus, missed_every: 500, ..Workload::new(20) }, events, codec)
}

/// The same without long pauses, so that nearly every event is on another CPU than the one before it: what costs
/// most to bring in order.
pub fn interleaved(seed: u64, cpus: u32, events: u32, codec: Codec) -> Trace {
    let workload = Workload { cpus, missed_every: 500, odd_entries: false, ..Workload::new(seed) };
    make(workload, events, codec)
}

fn make(workload: Workload, events: u32, codec: Codec) -> Trace {
    let events_per_cpu = (events / workload.cpus) as usize;
    let workload = Workload { events_per_cpu, ..workload };
    let made = workload.generate();
    let file = TraceBuilder::new(workload).codec(codec).build_from(&made).into();
    Trace { file, events: made.event_count() as u64, data_bytes: made.byte_count() as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_events_as_asked_for() {
        let trace = trace(4, 2000, Codec::None);
        assert_eq!(trace.events, 2000);
        assert!(trace.file.len() as u64 > trace.data_bytes);
    }

    #[test]
    fn interleaved_events_change_the_cpu_most_of_the_time() {
        let trace = interleaved(1, 8, 8000, Codec::None);
        let Reader { mut records, .. } = Reader::parse(trace.file).unwrap();
        let (mut changes, mut last) = (0, u32::MAX);
        while let Some(record) = records.next().unwrap() {
            changes += u32::from(record.cpu != last);
            last = record.cpu;
        }
        assert!(changes > 6000, "{changes} of 8000");
    }
}
