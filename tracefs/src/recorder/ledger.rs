//! What became of the data: delivered, lost in the kernel, lost on the way.

use std::io;
use std::time::Duration;

use crate::buffer_stats::BufferStats;
use crate::ring_buffer::Way;

/// The account of a recording.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Ledger {
    /// One entry per CPU, in the order of the sinks.
    pub cpus: Vec<CpuLedger>,
}

impl Ledger {
    /// Bytes delivered, over all CPUs.
    pub fn bytes(&self) -> u64 {
        self.cpus.iter().map(|cpu| cpu.bytes).sum()
    }

    /// Events the kernel lost, over all CPUs.
    pub fn lost_events(&self) -> u64 {
        self.cpus.iter().map(|cpu| cpu.stats.lost_events()).sum()
    }

    /// Why CPUs ended early, if any did.
    pub fn errors(&self) -> impl Iterator<Item = &SinkError> {
        self.cpus.iter().filter_map(|cpu| cpu.error.as_ref())
    }
}

/// What became of the data of one CPU.
#[derive(Debug)]
#[non_exhaustive]
pub struct CpuLedger {
    /// The CPU.
    pub cpu: u32,
    /// Bytes delivered, in whole sub-buffers. A sink that failed may hold a part of another
    /// one behind them.
    pub bytes: u64,
    /// Sub-buffers delivered.
    pub sub_buffers: u64,
    /// Bytes taken from the kernel that the sink did not take whole.
    pub discarded_bytes: u64,
    /// The way that was in use at the end.
    pub way: Way,
    /// The kernel's counters since the start.
    pub stats: BufferStats,
    /// Why this CPU ended early, if it did.
    pub error: Option<SinkError>,
}

/// Why the recording of a CPU ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The sink failed: disk full, pipe closed.
    #[error("writing the data of CPU {cpu}")]
    Write {
        /// The CPU.
        cpu: u32,
        /// What the system answered.
        source: io::Error,
    },
    /// The ring buffer could not be read.
    #[error("reading the ring buffer of CPU {cpu}")]
    Read {
        /// The CPU.
        cpu: u32,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The sink took nothing for longer than `stop_timeout` after the end.
    #[error("the sink of CPU {cpu} took no data for {waited:?} after the end")]
    Stalled {
        /// The CPU.
        cpu: u32,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The thread panicked.
    #[error("the recorder of CPU {cpu} panicked")]
    Panicked {
        /// The CPU.
        cpu: u32,
    },
}
