//! One thread per CPU moving sub-buffers to a sink until told to stop.
//!
//! A thread sleeps in `poll` until the kernel says that its buffer has filled up to
//! `buffer_percent`, until `interval` is over, or until it is told to stop; it never spins. Once
//! stopped it takes what is left, at most what the ring buffer can hold. The data of a sink that
//! fails are counted as discarded, and the other CPUs go on.
//!
//! The recorder's own threads appear in what they record. [`Recorder::thread_ids`] with
//! [`Changes::exclude_pids`](crate::Changes::exclude_pids) keeps them out by the kernel's
//! `set_event_notrace_pid`; switches between them and other tasks stay visible, and so does
//! what the kernel does for them in interrupts.

mod direct;
mod ledger;
mod priority;
mod sink;
mod wait;
mod worker;

use std::fs::File;
use std::io::{self, PipeWriter};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::buffer_control::BufferSize;
use crate::buffer_stats::BufferStats;
use crate::error::Error;
use crate::instance::Instance;
use crate::ring_buffer::{CpuBuffer, MappedBuffer, Way};
use crate::sys;

pub use ledger::{CpuLedger, Ledger, SinkError, Stalls};
pub use priority::Priority;
pub use sink::{Follower, Lender, Sink};

use wait::Waiter;
use worker::{Totals, Worker};

/// Bytes of a CPU that are worth a word to the disk.
const WRITEBACK_LEN: u64 = 4 << 20;

/// How to record.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecorderOptions {
    /// Which way sub-buffers are taken.
    pub way: Way,
    /// At most this long between looks at the buffer, also when the kernel wakes nobody.
    pub interval: Duration,
    /// How urgent the threads are. What may not be had is done without.
    pub priority: Priority,
    /// How long a sink that takes nothing is waited for once recording was stopped.
    pub stop_timeout: Duration,
    /// The snapshot is taken instead of the ring buffer that is written to.
    pub snapshot: bool,
}

impl Default for RecorderOptions {
    fn default() -> Self {
        Self {
            way: Way::Auto,
            interval: Duration::from_secs(1),
            priority: Priority::Realtime(1),
            stop_timeout: Duration::from_secs(5),
            snapshot: false,
        }
    }
}

/// A running recording of one instance. Dropping it stops it as [`stop`](Self::stop) does.
#[derive(Debug)]
pub struct Recorder {
    instance: Instance,
    cpus: Vec<CpuThread>,
    thread_ids: Vec<i32>,
    /// Closing it tells the threads to stop.
    stop: Option<PipeWriter>,
    stop_timeout: Duration,
}

/// How much of a file the kernel was told to write to its disk.
#[derive(Debug)]
struct Writeback {
    file: File,
    offset: u64,
    started: u64,
}

#[derive(Debug)]
struct CpuThread {
    cpu: u32,
    before: BufferStats,
    progress: Arc<AtomicU64>,
    writeback: Option<Writeback>,
    result: mpsc::Receiver<Totals>,
    handle: JoinHandle<()>,
    totals: Option<Totals>,
}

/// How much a [`Recorder`] has delivered so far.
#[derive(Clone, Debug)]
pub struct RecorderProgress(Vec<Arc<AtomicU64>>);

impl RecorderProgress {
    /// Bytes over all CPUs.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|cpu| cpu.load(Ordering::Relaxed)).sum()
    }
}

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
        let (stopped, stop) = io::pipe().map_err(|e| failed(0, "making a pipe", e))?;
        let stopped = Arc::new(stopped);
        let mut recorder = Self {
            instance: instance.clone(),
            cpus: Vec::with_capacity(sinks.len()),
            thread_ids: Vec::with_capacity(sinks.len()),
            stop: Some(stop),
            stop_timeout: options.stop_timeout,
        };
        for (cpu, sink) in sinks {
            let writeback = match &sink {
                Sink::At { file, offset } => {
                    let file =
                        file.try_clone().map_err(|e| failed(cpu, "preparing the sink", e))?;
                    Some(Writeback { file, offset: *offset, started: 0 })
                }
                _ => None,
            };
            let open = if options.snapshot { CpuBuffer::open_snapshot } else { CpuBuffer::open };
            let buffer = open(instance, cpu)?;
            let capacity = capacity(instance, cpu);
            let waiter = Waiter::new(Arc::clone(&stopped));
            let map = match options.way {
                Way::Map => MappedBuffer::new(&buffer)
                    .map_err(|e| failed(cpu, "mapping the ring buffer", e))?,
                _ => None,
            };
            let worker = Worker::new(buffer, map, sink, waiter, capacity, options)
                .map_err(|e| failed(cpu, "preparing the sink", e))?;
            recorder.spawn(cpu, worker, writeback, options.priority)?;
        }
        Ok(recorder)
    }

    fn spawn(
        &mut self,
        cpu: u32,
        worker: Worker,
        writeback: Option<Writeback>,
        priority: Priority,
    ) -> Result<(), Error> {
        let before = self.instance.buffer_stats(cpu).unwrap_or_default();
        let progress = worker.progress();
        let (tell_id, id) = mpsc::sync_channel(1);
        let (tell_result, result) = mpsc::sync_channel(1);
        let handle = thread::Builder::new()
            .name(format!("trace-cpu{cpu}"))
            .spawn(move || {
                // Signals are for the caller's threads; a closed pipe is an error code here.
                let _ = nix::sys::signal::SigSet::all().thread_block();
                let _ = tell_id.send(sys::thread_id());
                // Without the right to it events may be lost, which is told at the end.
                let _ = priority.apply();
                let _ = tell_result.send(worker.run());
            })
            .map_err(|e| failed(cpu, "starting a thread", e))?;
        if let Ok(id) = id.recv() {
            self.thread_ids.push(id);
        }
        let thread = CpuThread { cpu, before, progress, writeback, result, handle, totals: None };
        self.cpus.push(thread);
        Ok(())
    }

    /// Ids of the threads, to leave them out of the trace.
    pub fn thread_ids(&self) -> &[i32] {
        &self.thread_ids
    }

    /// Bytes delivered so far, over all CPUs.
    pub fn bytes(&self) -> u64 {
        self.cpus.iter().map(|thread| thread.progress.load(Ordering::Relaxed)).sum()
    }

    /// How far it is, to be asked also while [`stop`](Self::stop) takes what is left.
    pub fn progress(&self) -> RecorderProgress {
        RecorderProgress(self.cpus.iter().map(|thread| Arc::clone(&thread.progress)).collect())
    }

    /// Events lost so far, over all CPUs.
    pub fn lost_events(&self) -> u64 {
        let lost = |thread: &CpuThread| {
            let now = self.instance.buffer_stats(thread.cpu).unwrap_or(thread.before);
            now.since(&thread.before).lost_events()
        };
        self.cpus.iter().map(lost).sum()
    }

    /// Has the kernel write what was delivered to its disk, where sinks are files, instead of some
    /// time later: so there is little left to write at the end. May wait for a slow disk.
    pub fn write_back(&mut self) {
        for thread in &mut self.cpus {
            let Some(writeback) = &mut thread.writeback else { continue };
            let delivered = thread.progress.load(Ordering::Relaxed);
            let len = delivered.saturating_sub(writeback.started);
            let offset = writeback.offset.saturating_add(writeback.started);
            // Only a hint: without it the end takes longer.
            if len >= WRITEBACK_LEN
                && sys::start_writeback(writeback.file.as_fd(), offset, len).is_ok()
            {
                writeback.started = delivered;
            }
        }
    }

    /// Whether all threads have ended by themselves, because every sink failed.
    pub fn is_finished(&self) -> bool {
        self.cpus.iter().all(|thread| thread.handle.is_finished())
    }

    /// Whether some thread has ended by itself, because its sink failed.
    pub fn has_failure(&self) -> bool {
        self.cpus.iter().any(|thread| thread.handle.is_finished())
    }

    /// Takes what is left in the buffers, ends the threads and says what became of the data.
    /// Turn tracing off before, so that what was recorded is all there is.
    ///
    /// Bounded: a sink that takes nothing for `stop_timeout` is given up, and a thread that the
    /// kernel holds in a write for that long is left behind.
    pub fn stop(mut self) -> Ledger {
        self.finish()
    }

    fn finish(&mut self) -> Ledger {
        drop(self.stop.take());
        let cpus = std::mem::take(&mut self.cpus);
        let finish = |thread: CpuThread| thread.finish(&self.instance, self.stop_timeout);
        Ledger { cpus: cpus.into_iter().map(finish).collect() }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.finish();
    }
}

impl CpuThread {
    fn finish(mut self, instance: &Instance, stop_timeout: Duration) -> CpuLedger {
        // The thread gives up on its own after stop_timeout; this is for one that cannot. One that only has to wait for
        // its turn on a busy machine knows best what it took.
        let patience = stop_timeout.saturating_add(Duration::from_secs(10));
        let mut seen = self.progress.load(Ordering::Relaxed);
        let mut error = None;
        while self.totals.is_none() && error.is_none() {
            match self.result.recv_timeout(patience) {
                Ok(totals) => self.totals = Some(totals),
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    error = Some(SinkError::Panicked { cpu: self.cpu });
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let now = self.progress.load(Ordering::Relaxed);
                    if now == seen {
                        error = Some(SinkError::Stalled { cpu: self.cpu, waited: patience });
                    }
                    seen = now;
                }
            }
        }
        if !matches!(error, Some(SinkError::Stalled { .. })) {
            // It has ended, or is about to; a panic is known from the closed channel.
            let _ = self.handle.join();
        }
        let after = instance.buffer_stats(self.cpu).unwrap_or(self.before);
        let stats = after.since(&self.before);
        let totals = self.totals.unwrap_or_else(|| Totals { delivered: seen, ..Totals::default() });
        totals.into_ledger(self.cpu, stats, error)
    }
}

/// More bytes than the ring buffer of a CPU can hold, as a bound for what is taken after the end.
/// The kernel's size counts neither headers nor the sub-buffer lent to the reader.
fn capacity(instance: &Instance, cpu: u32) -> u64 {
    match instance.cpu_buffer_size(cpu) {
        Ok(BufferSize::Same(size_kb) | BufferSize::NotExpanded(size_kb)) => {
            size_kb.saturating_mul(2 * 1024)
        }
        _ => 1 << 30,
    }
}

fn failed(cpu: u32, action: &'static str, source: io::Error) -> Error {
    Error::Recorder { cpu, action, source }
}
