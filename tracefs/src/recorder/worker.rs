//! The thread of one CPU.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::RecorderOptions;
use super::ledger::{CpuLedger, SinkError, Stalls};
use super::sink::{Outlet, Sink};
use super::wait::{Backoff, Pace, Waiter};
use crate::buffer_stats::BufferStats;
use crate::ring_buffer::{CpuBuffer, Found, MappedBuffer, SplicePipe, SubBuffer, Way, is_partial};

/// Sub-buffers read or looked at in one go, before the word to stop is looked for.
const READ_ROUND: u32 = 64;
/// Longest pause where the ring buffer says ready and has no whole sub-buffer; a busy CPU fills its
/// buffer in some ten milliseconds.
const SOURCE_PAUSE: Duration = Duration::from_millis(10);
/// Bytes that go from a pipe to a sink without descriptor at once.
const PIPE_READ: usize = 64 << 10;
/// Longest pause between tries to write to a sink that says ready and takes nothing.
const SINK_PAUSE: Duration = Duration::from_millis(100);

/// Moves the sub-buffers of one CPU.
pub(super) struct Worker {
    buffer: CpuBuffer,
    outlet: Outlet,
    waiter: Waiter,
    pipe: Option<SplicePipe>,
    map: Option<MappedBuffer>,
    memory: SubBuffer,
    /// What comes out of the pipe, for a sink without descriptor.
    piped: Vec<u8>,
    forced: Way,
    interval: Duration,
    stop_timeout: Duration,
    capacity: u64,
    delivered: Arc<AtomicU64>,
    discarded: u64,
    stalls: Stalls,
    lent: LentReads,
}

/// What a thread has to say at its end.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) delivered: u64,
    pub(super) discarded: u64,
    pub(super) stalls: Stalls,
    pub(super) sub_buffer_size: u64,
    pub(super) way: Way,
    pub(super) error: Option<SinkError>,
}

impl Totals {
    pub(super) fn into_ledger(
        self,
        cpu: u32,
        stats: BufferStats,
        error: Option<SinkError>,
    ) -> CpuLedger {
        let size = self.sub_buffer_size.max(1);
        let part = self.delivered % size;
        CpuLedger {
            cpu,
            bytes: self.delivered - part,
            sub_buffers: self.delivered / size,
            discarded_bytes: self.discarded + part,
            stalls: self.stalls,
            way: self.way,
            stats,
            error: error.or(self.error),
        }
    }
}

impl Worker {
    pub(super) fn new(
        buffer: CpuBuffer,
        map: Option<MappedBuffer>,
        sink: Sink,
        waiter: Waiter,
        capacity: u64,
        options: &RecorderOptions,
    ) -> io::Result<Self> {
        let outlet = Outlet::new(sink, capacity / 2)?;
        let splices = matches!(options.way, Way::Auto | Way::Splice);
        Ok(Self {
            map,
            memory: SubBuffer::new(&buffer),
            piped: Vec::new(),
            pipe: splices.then(SplicePipe::new).transpose()?,
            buffer,
            outlet,
            waiter,
            forced: options.way,
            interval: options.interval,
            stop_timeout: options.stop_timeout,
            capacity,
            delivered: Arc::default(),
            discarded: 0,
            stalls: Stalls::default(),
            lent: LentReads::default(),
        })
    }

    /// Counts the bytes delivered, also while it runs.
    pub(super) fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.delivered)
    }

    /// Records until told to stop, then takes what is left.
    pub(super) fn run(mut self) -> Totals {
        let error = self.record().and_then(|()| self.take_rest()).err();
        Totals {
            delivered: self.delivered.load(Ordering::Relaxed),
            discarded: self.discarded,
            stalls: self.stalls,
            sub_buffer_size: self.buffer.sub_buffer_size() as u64,
            way: match self.forced {
                Way::Map => Way::Map,
                _ if self.pipe.is_some() => Way::Splice,
                _ => Way::Read,
            },
            error,
        }
    }

    fn record(&mut self) -> Result<(), SinkError> {
        let mut pace = Pace::new(self.capacity / 2, self.interval.min(SOURCE_PAUSE));
        let (mut woken, mut taken) = (false, 0_u64);
        while !self.waiter.is_stopped() {
            let started = Instant::now();
            let ahead = if woken && taken == 0 { self.read_lent()? } else { 0 };
            let now = self.take_some()?.saturating_add(ahead);
            self.stalls.note(started.elapsed());
            if now > 0 {
                taken = taken.saturating_add(now);
                continue;
            }
            // Woken for little: poll alone would spin here.
            if woken && let Some(pause) = pace.after(taken) {
                self.waiter.rest(pause);
            }
            taken = 0;
            self.outlet.caught_up().map_err(|source| self.write_error(source))?;
            // The word to stop may have come during the rest.
            let buffer = self.buffer.as_fd();
            woken = self.waiter.wait_until_stopped(buffer, PollFlags::POLLIN, self.interval);
        }
        Ok(())
    }

    /// Takes all, the sub-buffer still being filled included. If tracing was left on there is
    /// always more, so what was there at the end is the bound.
    fn take_rest(&mut self) -> Result<(), SinkError> {
        let size = self.buffer.sub_buffer_size() as u64;
        let mut budget = self.capacity.saturating_add(size.saturating_mul(4));
        while budget > 0 && self.pipe.is_some() {
            match self.take_some()? {
                0 => break,
                taken => budget = budget.saturating_sub(taken),
            }
        }
        if self.map.is_some() {
            self.take_mapped_rest(budget)?;
        } else {
            while budget > 0 && self.read_one()? {
                budget = budget.saturating_sub(size);
            }
        }
        let cpu = self.buffer.cpu();
        self.outlet.flush().map_err(|source| SinkError::Write { cpu, source })
    }

    /// Takes a round of sub-buffers; returns how many bytes.
    fn take_some(&mut self) -> Result<u64, SinkError> {
        if self.forced == Way::Map {
            return self.map_round();
        }
        let Some(pipe) = self.pipe.take() else { return self.read_round() };
        match pipe.fill(&self.buffer) {
            Ok(0) => {
                self.pipe = Some(pipe);
                Ok(0)
            }
            Ok(filled) => {
                let outcome = self.empty(&pipe, filled);
                if !matches!(outcome, Ok(false)) {
                    self.pipe = Some(pipe);
                }
                outcome.map(|_| filled as u64)
            }
            Err(error) if self.may_fall_back(&error) => self.read_round(),
            Err(source) => Err(self.read_error(source)),
        }
    }

    /// Delivers the `filled` bytes in the pipe. Says whether a pipe is of use for this sink.
    fn empty(&mut self, pipe: &SplicePipe, filled: usize) -> Result<bool, SinkError> {
        if self.outlet.fd().is_none() {
            // From the ring buffer to the pipe only whole sub-buffers go, and many at once.
            return self.empty_through_memory(pipe, filled).map(|()| true);
        }
        let mut left = filled;
        let mut progress = Progress::new();
        let outcome = loop {
            if left == 0 {
                break Ok(true);
            }
            match self.outlet.drain(pipe, left) {
                Ok(0) => break Err(self.write_error(io::ErrorKind::WriteZero.into())),
                Ok(moved) => {
                    left = left.saturating_sub(moved);
                    self.count(moved);
                    progress.made();
                }
                Err(error) if self.may_fall_back(&error) => break Ok(false),
                Err(error) => {
                    if let Err(error) = self.bear(error, &mut progress) {
                        break Err(error);
                    }
                }
            }
        };
        match outcome {
            Ok(true) => Ok(true),
            Ok(false) => self.empty_through_memory(pipe, left).map(|()| false),
            Err(error) => {
                self.discarded = self.discarded.saturating_add(left as u64);
                Err(error)
            }
        }
    }

    fn empty_through_memory(
        &mut self,
        pipe: &SplicePipe,
        mut left: usize,
    ) -> Result<(), SinkError> {
        let size = self.buffer.sub_buffer_size().max(1);
        let mut bytes = std::mem::take(&mut self.piped);
        bytes.resize((PIPE_READ / size).max(1).saturating_mul(size), 0);
        let result = self.deliver_piped(pipe, &mut bytes, &mut left);
        if result.is_err() {
            self.discarded = self.discarded.saturating_add(left as u64);
        }
        self.piped = bytes;
        result
    }

    fn deliver_piped(
        &mut self,
        pipe: &SplicePipe,
        bytes: &mut [u8],
        left: &mut usize,
    ) -> Result<(), SinkError> {
        while *left > 0 {
            let taken = match pipe.read(bytes) {
                Ok(0) => return Err(self.read_error(io::ErrorKind::UnexpectedEof.into())),
                Ok(taken) => taken,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.read_error(error)),
            };
            *left = left.saturating_sub(taken);
            self.deliver(bytes.get(..taken).unwrap_or_default())?;
        }
        Ok(())
    }

    /// Reads into lent memory what is surely whole: the kernel woke this thread because half of the ring
    /// buffer is full. What is behind that is spliced, which leaves alone what is being filled.
    fn read_lent(&mut self) -> Result<u64, SinkError> {
        if self.pipe.is_none() || self.forced != Way::Auto || !self.lent.pays() {
            return Ok(0);
        }
        let size = self.buffer.sub_buffer_size();
        let (cpu, ring) = (self.buffer.cpu(), self.capacity / 2);
        let mut taken = 0;
        for _ in 0..ring / 2 / (size as u64).max(1) {
            let Some(lender) = self.outlet.lender() else { break };
            let into = lender.lend(size).map_err(|source| SinkError::Write { cpu, source })?;
            let there = self.buffer.read(into);
            let there = there.map_err(|source| SinkError::Read { cpu, source })?;
            let partial = is_partial(into);
            if !there {
                break;
            }
            if let Err(source) = lender.take_lent() {
                self.discarded = self.discarded.saturating_add(size as u64);
                return Err(SinkError::Write { cpu, source });
            }
            self.count(size);
            taken += size as u64;
            self.lent.count(partial);
            if partial {
                break;
            }
        }
        Ok(taken)
    }

    fn read_round(&mut self) -> Result<u64, SinkError> {
        let size = self.buffer.sub_buffer_size() as u64;
        let mut taken = 0;
        for _ in 0..READ_ROUND {
            if !self.read_one()? {
                break;
            }
            // Taking every few events as they come would trace mostly this thread.
            if self.memory.is_partial() {
                break;
            }
            taken += size;
        }
        Ok(taken)
    }

    fn map_round(&mut self) -> Result<u64, SinkError> {
        if self.map.is_none() {
            let taken = self.read_round()?;
            self.map = MappedBuffer::new(&self.buffer).map_err(|error| self.read_error(error))?;
            return Ok(taken);
        }
        let size = self.buffer.sub_buffer_size() as u64;
        let mut taken = 0;
        for _ in 0..READ_ROUND {
            match self.look()? {
                Found::Whole => taken += size,
                Found::Some { nearly: true } => {}
                // As with reading: there is no hurry for every few events.
                Found::Some { nearly: false } | Found::Nothing => break,
            }
        }
        Ok(taken)
    }

    /// Looks once at a mapped ring buffer, and delivers the sub-buffer that is whole.
    fn look(&mut self) -> Result<Found, SinkError> {
        let Some(map) = &mut self.map else { return Ok(Found::Nothing) };
        let mut memory = std::mem::take(&mut self.memory);
        let result = match map.look(&self.buffer, memory.bytes_mut()) {
            Ok(Found::Whole) => self.deliver(memory.bytes()).map(|()| Found::Whole),
            Ok(found) => Ok(found),
            Err(source) => Err(self.read_error(source)),
        };
        self.memory = memory;
        result
    }

    fn take_mapped_rest(&mut self, mut budget: u64) -> Result<(), SinkError> {
        let size = self.buffer.sub_buffer_size() as u64;
        while budget > 0 && self.look()? != Found::Nothing {
            budget = budget.saturating_sub(size);
        }
        let mut memory = std::mem::take(&mut self.memory);
        if self.map.as_mut().is_some_and(|map| map.take_rest(memory.bytes_mut())) {
            self.deliver(memory.bytes())?;
        }
        Ok(())
    }

    /// Reads and delivers one sub-buffer, if there is one.
    fn read_one(&mut self) -> Result<bool, SinkError> {
        let mut memory = std::mem::take(&mut self.memory);
        let result = match memory.take(&self.buffer) {
            Ok(Some(bytes)) => self.deliver(bytes).map(|()| true),
            Ok(None) => Ok(false),
            Err(source) => Err(self.read_error(source)),
        };
        self.memory = memory;
        result
    }

    /// Writes all of `bytes` to the sink, waiting where it must.
    fn deliver(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        let mut rest = bytes;
        let mut progress = Progress::new();
        while !rest.is_empty() {
            let outcome = match self.outlet.write(rest) {
                Ok(0) => Err(self.write_error(io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    self.count(written);
                    progress.made();
                    Ok(())
                }
                Err(error) => self.bear(error, &mut progress),
            };
            if let Err(error) = outcome {
                self.discarded = self.discarded.saturating_add(rest.len() as u64);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Waits until a full sink takes more; anything else is final.
    fn bear(&mut self, error: io::Error, progress: &mut Progress) -> Result<(), SinkError> {
        match error.kind() {
            io::ErrorKind::Interrupted => return Ok(()),
            io::ErrorKind::WouldBlock => {}
            _ => return Err(self.write_error(error)),
        }
        let limit = match self.waiter.stopped_at() {
            None => self.interval,
            Some(stopped_at) => {
                let waited = progress.last.max(stopped_at).elapsed();
                if waited >= self.stop_timeout {
                    return Err(SinkError::Stalled { cpu: self.buffer.cpu(), waited });
                }
                self.stop_timeout.saturating_sub(waited)
            }
        };
        if progress.ready_in_vain {
            // It says ready, or hung up, and takes nothing: poll alone would spin here.
            self.waiter.rest(progress.backoff.next().min(limit));
        }
        let started = Instant::now();
        if let Some(fd) = self.outlet.fd() {
            let was_stopped = self.waiter.stopped_at().is_some();
            self.waiter.wait_for(fd, PollFlags::POLLOUT, limit);
            let told_to_stop = !was_stopped && self.waiter.stopped_at().is_some();
            progress.ready_in_vain = !told_to_stop && started.elapsed() < limit;
        }
        Ok(())
    }

    fn may_fall_back(&self, error: &io::Error) -> bool {
        self.forced == Way::Auto
            && matches!(
                error.raw_os_error(),
                Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::EPERM)
            )
    }

    fn count(&self, bytes: usize) {
        self.delivered.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn read_error(&self, source: io::Error) -> SinkError {
        SinkError::Read { cpu: self.buffer.cpu(), source }
    }

    fn write_error(&self, source: io::Error) -> SinkError {
        SinkError::Write { cpu: self.buffer.cpu(), source }
    }
}

/// Whether sub-buffers that should be whole are. Kernels before 6.1, and later ones once events were
/// lost, wake for every event.
#[derive(Debug, Default)]
struct LentReads {
    whole: u64,
    partial: u64,
}

impl LentReads {
    fn count(&mut self, partial: bool) {
        *(if partial { &mut self.partial } else { &mut self.whole }) += 1;
    }

    fn pays(&self) -> bool {
        self.partial <= 1 + self.whole / 64
    }
}

/// How one delivery gets on.
struct Progress {
    last: Instant,
    ready_in_vain: bool,
    backoff: Backoff,
}

impl Progress {
    fn new() -> Self {
        Self { last: Instant::now(), ready_in_vain: false, backoff: Backoff::new(SINK_PAUSE) }
    }

    fn made(&mut self) {
        self.last = Instant::now();
        self.ready_in_vain = false;
        self.backoff.reset();
    }
}
