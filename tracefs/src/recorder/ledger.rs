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
    /// When it was held up while tracing went on.
    pub stalls: Stalls,
    /// The way that was in use at the end.
    pub way: Way,
    /// The kernel's counters since the start.
    pub stats: BufferStats,
    /// Why this CPU ended early, if it did.
    pub error: Option<SinkError>,
}

/// Rounds of taking and delivering that lasted so long that the kernel may have had to lose events
/// meanwhile: the sink was slow, or the machine had no time for the recorder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stalls {
    /// How many there were, of [`Stalls::LIMIT`] or longer.
    pub count: u64,
    /// How long the longest took.
    pub longest: Duration,
}

impl Stalls {
    /// From when on a round counts: a busy CPU fills its buffer in some ten milliseconds.
    pub const LIMIT: Duration = Duration::from_millis(100);

    /// Notes how long a round took.
    pub(super) fn note(&mut self, round: Duration) {
        if round >= Self::LIMIT {
            self.count += 1;
            self.longest = self.longest.max(round);
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_rounds_are_stalls() {
        let mut stalls = Stalls::default();
        for round in [99, 100, 2500, 0, 300] {
            stalls.note(Duration::from_millis(round));
        }
        assert_eq!(stalls, Stalls { count: 3, longest: Duration::from_millis(2500) });
    }
}
