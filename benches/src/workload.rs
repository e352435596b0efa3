//! Seeded traces, so that every run and every machine measures the same bytes.

use std::sync::Arc;

use tracedat::compress::Codec;
use tracedat::testing::{TraceBuilder, Workload};

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

/// A file of version 7 with `events` events on `cpus` CPUs: scheduling, interrupts, memory,
/// system calls, and some lost events.
pub fn trace(cpus: u32, events: u32, codec: Codec) -> Trace {
    let workload = Workload {
        cpus,
        events_per_cpu: (events / cpus) as usize,
        missed_every: 500,
        ..Workload::new(20)
    };
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
}
