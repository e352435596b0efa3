//! One thread per CPU moving sub-buffers to a sink until told to stop.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::buffer_stats::BufferStats;
use crate::error::Error;
use crate::instance::Instance;
use crate::ring_buffer::Way;

/// Where the sub-buffers of one CPU go.
#[non_exhaustive]
pub enum Sink {
    /// A file (written at its own position), pipe, FIFO, socket or virtio port.
    Fd(OwnedFd),
    /// Anything that takes bytes, in whole sub-buffers; always by [`Way::Read`]. It must not
    /// block for ever.
    Writer(Box<dyn Write + Send>),
}

impl From<OwnedFd> for Sink {
    fn from(fd: OwnedFd) -> Self {
        Self::Fd(fd)
    }
}

impl From<File> for Sink {
    fn from(file: File) -> Self {
        Self::Fd(file.into())
    }
}

/// How to record.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecorderOptions {
    /// Which way sub-buffers are taken.
    pub way: Way,
    /// At most this long between looks at the buffer, also when the kernel wakes nobody.
    pub interval: Duration,
    /// How long a sink that takes nothing is waited for once recording was stopped.
    pub stop_timeout: Duration,
}

impl Default for RecorderOptions {
    fn default() -> Self {
        Self {
            way: Way::Auto,
            interval: Duration::from_secs(1),
            stop_timeout: Duration::from_secs(5),
        }
    }
}

/// A running recording of one instance.
#[derive(Debug)]
pub struct Recorder {}

impl Recorder {
    /// Starts one thread per sink. Nothing is enabled: that is the caller's, before or after.
    ///
    /// # Errors
    /// [`Error::Recorder`], or what the kernel answers to opening `trace_pipe_raw`; threads that
    /// were started are stopped again.
    pub fn start(
        instance: &Instance,
        sinks: Vec<(u32, Sink)>,
        options: &RecorderOptions,
    ) -> Result<Self, Error> {
        let _ = (instance, sinks, options);
        unimplemented!()
    }

    /// Ids of the threads, to leave them out of the trace ([`crate::Changes::exclude_pids`]).
    pub fn thread_ids(&self) -> &[i32] {
        unimplemented!()
    }

    /// Bytes delivered so far, over all CPUs.
    pub fn bytes(&self) -> u64 {
        unimplemented!()
    }

    /// Whether all threads have ended by themselves, because every sink failed.
    pub fn is_finished(&self) -> bool {
        unimplemented!()
    }

    /// Takes what is left in the buffers, ends the threads and says what became of the data.
    /// Turn tracing off before, so that there is an end. Never waits longer than the sinks take
    /// plus `stop_timeout`.
    pub fn stop(self) -> Ledger {
        unimplemented!()
    }
}

/// What became of the data: delivered, lost in the kernel, lost on the way.
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
}

/// What became of the data of one CPU.
#[derive(Debug)]
#[non_exhaustive]
pub struct CpuLedger {
    /// The CPU.
    pub cpu: u32,
    /// Bytes delivered: whole sub-buffers.
    pub bytes: u64,
    /// Sub-buffers delivered.
    pub sub_buffers: u64,
    /// Bytes taken from the kernel that the sink did not take.
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
