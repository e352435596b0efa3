//! Sub-buffers as they are recorded, compressed on their way into a region of a file.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use super::chunk_writer::ChunkWriter;
use super::region::RegionFile;
use super::{Recorded, WriteError};
use crate::compress::{Codec, Compressor, Effort};

/// Bytes that are gathered before they are written, when more is on its way.
const WRITE_LEN: usize = 256 << 10;

/// Bytes of all sinks of a recording that may wait to be compressed.
const MAX_WAITING: usize = 64 << 20;

/// Chunks that may wait in one sink.
const MAX_DEPTH: usize = 1024;
const MIN_DEPTH: usize = 4;

/// Takes the sub-buffers of one CPU, one whole one after the other, and hands them in chunks to a
/// thread that compresses and writes them. When that thread falls behind it compresses less well, in
/// the end hardly at all; when the queue is full all the same, writing waits.
#[derive(Debug)]
pub struct ChunkSink {
    jobs: SyncSender<Vec<u8>>,
    free: Receiver<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
    /// The chunk that is being filled, and how far it is.
    raw: Vec<u8>,
    used: usize,
    chunk_len: usize,
    /// Bytes of a half of what is kept, at whose end a chunk ends, and how many of it are still to come.
    half: u64,
    left: u64,
}

/// The thread behind a [`ChunkSink`].
#[derive(Debug)]
pub struct PendingChunks {
    thread: JoinHandle<(Recorded, Result<(), WriteError>)>,
}

impl ChunkSink {
    /// Starts to write to a region. `sinks` is how many there are in all, which share the
    /// memory for what waits. The thread calls `prepare` first, for its priority and the like.
    ///
    /// # Errors
    /// When the codec is not in this build, or no thread can be had.
    pub fn start(
        region: RegionFile,
        codec: Codec,
        page_size: u32,
        sinks: usize,
        prepare: impl FnOnce() + Send + 'static,
    ) -> Result<(Self, PendingChunks), WriteError> {
        let chunk_len = ChunkWriter::chunk_len(page_size);
        let half = region.room();
        let (cpu, offset) = (region.region().cpu, region.region().offset);
        let depth = MAX_WAITING / chunk_len.max(1) / sinks.max(1);
        let depth = depth.clamp(MIN_DEPTH, MAX_DEPTH);
        let (jobs, todo) = sync_channel(depth);
        let (give_back, free) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let compressor = codec.compressor()?;
        let worker = Worker { chunks: ChunkWriter::new(region), compressor, effort: Effort::Usual };
        let depth = Depth { waiting: Arc::clone(&waiting), most: depth };
        let thread = thread::Builder::new()
            .name(format!("compress-cpu{cpu}"))
            .spawn(move || {
                prepare();
                worker.run(&todo, &give_back, &depth)
            })
            .map_err(|source| WriteError::Io { offset, source })?;
        let raw = vec![0; chunk_len];
        let sink = Self { jobs, free, waiting, raw, used: 0, chunk_len, half, left: half };
        Ok((sink, PendingChunks { thread }))
    }

    /// Lends memory for the next `len` bytes, at most a chunk; [`take_lent`](Self::take_lent) takes them.
    ///
    /// # Errors
    /// When data cannot be written any more, or `len` is more.
    pub fn lend(&mut self, len: usize) -> io::Result<&mut [u8]> {
        if len > self.whole().saturating_sub(self.used) {
            self.send()?;
        }
        if len > self.whole() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let memory = self.raw.get_mut(self.used..).and_then(|rest| rest.get_mut(..len));
        memory.ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    /// Takes the `len` bytes that were written to the memory lent last.
    ///
    /// # Errors
    /// When data cannot be written any more, or so much was not lent.
    pub fn take_lent(&mut self, len: usize) -> io::Result<()> {
        let (used, whole) = (self.used.saturating_add(len), self.whole());
        if used > whole {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.used = used;
        if used == whole { self.send() } else { Ok(()) }
    }

    /// Bytes of the chunk that is filled: chunks end where a half of a capped region does.
    fn whole(&self) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX).min(self.chunk_len)
    }

    fn send(&mut self) -> io::Result<()> {
        if self.used == 0 {
            return Ok(());
        }
        let mut next = self.free.try_recv().unwrap_or_default();
        next.resize(self.chunk_len, 0);
        let mut raw = std::mem::replace(&mut self.raw, next);
        raw.truncate(self.used);
        self.left = match self.left.saturating_sub(self.used as u64) {
            0 => self.half,
            left => left,
        };
        self.used = 0;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // The reason is what the thread returns.
        self.jobs.send(raw).map_err(|_| io::Error::other("the data cannot be written any more"))
    }
}

impl Write for ChunkSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.whole().saturating_sub(self.used);
        let now = bytes.get(..room).unwrap_or(bytes);
        self.lend(now.len())?.copy_from_slice(now);
        self.take_lent(now.len())?;
        Ok(now.len())
    }

    /// Ends the chunk: the next one starts with the next sub-buffer.
    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

impl Drop for ChunkSink {
    fn drop(&mut self) {
        // What cannot be written any more is counted by who has the result of the thread.
        let _ = self.send();
    }
}

impl PendingChunks {
    /// Waits until all is written, once the sink is dropped. Returns what is there, and why there is
    /// not more, if data could not be compressed or written.
    pub fn finish(self) -> (Recorded, Result<(), WriteError>) {
        self.thread.join().unwrap_or_else(|_| {
            let source = io::Error::other("the thread that compresses has failed");
            (Recorded::default(), Err(WriteError::Io { offset: 0, source }))
        })
    }
}

/// How much waits, and how much may.
struct Depth {
    waiting: Arc<AtomicUsize>,
    most: usize,
}

impl Depth {
    /// What can be afforded: when the queue is full, events are lost.
    fn effort(&self, waiting: usize) -> Effort {
        match waiting {
            _ if waiting > self.most / 4 * 3 => Effort::Least,
            _ if waiting > self.most / 2 => Effort::Little,
            _ => Effort::Quick,
        }
    }
}

/// The other end of the queue.
struct Worker {
    chunks: ChunkWriter,
    compressor: Compressor,
    effort: Effort,
}

impl Worker {
    fn run(
        mut self,
        todo: &Receiver<Vec<u8>>,
        give_back: &Sender<Vec<u8>>,
        depth: &Depth,
    ) -> (Recorded, Result<(), WriteError>) {
        let result = self.write_all(todo, give_back, depth);
        (self.chunks.recorded(), result)
    }

    fn write_all(
        &mut self,
        todo: &Receiver<Vec<u8>>,
        give_back: &Sender<Vec<u8>>,
        depth: &Depth,
    ) -> Result<(), WriteError> {
        while let Ok(raw) = todo.recv() {
            let waiting = depth.waiting.fetch_sub(1, Ordering::Relaxed);
            let effort = depth.effort(waiting);
            if effort != self.effort {
                self.compressor.set_effort(effort)?;
                self.effort = effort;
            }
            self.chunks.add(&raw, &mut self.compressor)?;
            if waiting <= 1 || self.chunks.waiting() >= WRITE_LEN {
                self.chunks.write()?;
            }
            let _ = give_back.send(raw);
        }
        self.chunks.write()
    }
}
