//! Chunks of compressed data, in the order they came, compressed by several threads.

use std::io::{Seek, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};

use super::WriteError;
use super::output::{Output, count};
use crate::compress::{Codec, CompressError, Compressor};
use crate::layout::CompressedHeader;

/// Data below this size is compressed by the calling thread.
const WORTH_THREADS: u64 = 1 << 20;

/// More threads than this wait for the one that reads and writes.
const MAX_THREADS: usize = 16;

/// Chunks each thread may have: one at work, one that waits.
const DEPTH: usize = 2;

/// Compresses chunks and writes them in the order given.
pub(super) enum ChunkWriter {
    /// In the calling thread.
    Here { compressor: Box<Compressor>, chunk: Chunk },
    /// In others, each with its turn.
    Threads { lanes: Vec<Lane>, free: Vec<Chunk> },
}

/// Bytes before and after compression.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    raw: Vec<u8>,
    packed: Vec<u8>,
}

/// The way to a thread and back.
pub(super) struct Lane {
    jobs: SyncSender<Chunk>,
    done: Receiver<Result<Chunk, CompressError>>,
}

impl ChunkWriter {
    /// Starts as many threads as `total` bytes are worth; they end when the value is dropped.
    pub(super) fn new<'scope>(
        scope: &'scope Scope<'scope, '_>,
        codec: Codec,
        total: u64,
    ) -> Result<Self, CompressError> {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        Self::with_threads(scope, codec, if total < WORTH_THREADS { 1 } else { threads })
    }

    fn with_threads<'scope>(
        scope: &'scope Scope<'scope, '_>,
        codec: Codec,
        threads: usize,
    ) -> Result<Self, CompressError> {
        let compressor = codec.compressor()?;
        if threads < 2 {
            return Ok(Self::Here { compressor: Box::new(compressor), chunk: Chunk::default() });
        }
        let mut lanes = Vec::with_capacity(threads);
        for _ in 0..threads {
            lanes.push(Lane::start(scope, codec.compressor()?));
        }
        Ok(Self::Threads { lanes, free: Vec::new() })
    }

    /// Writes `u32` number of chunks, then each with its header. `next` fills the buffer it is
    /// given with the next chunk, and leaves it empty at the end. Returns the bytes written.
    pub(super) fn write<W: Write + Seek>(
        &mut self,
        output: &mut Output<W>,
        mut next: impl FnMut(&mut Vec<u8>) -> Result<(), WriteError>,
    ) -> Result<u64, WriteError> {
        let start = output.position();
        output.u32(0)?;
        let chunks = match self {
            Self::Here { compressor, chunk } => {
                let mut chunks = 0;
                loop {
                    next(&mut chunk.raw)?;
                    if chunk.raw.is_empty() {
                        break chunks;
                    }
                    chunk.packed.clear();
                    compressor.compress_into(&chunk.raw, &mut chunk.packed)?;
                    chunk.write_to(output)?;
                    chunks += 1;
                }
            }
            Self::Threads { lanes, free } => write_by(lanes, free, output, next)?,
        };
        let chunks = count("chunks of a CPU", chunks)?;
        output.patch(start, &output.order().put_u32(chunks))?;
        Ok(output.position() - start)
    }
}

/// Hands chunks to the lanes in turn, and takes them back in the same turn.
fn write_by<W: Write + Seek>(
    lanes: &[Lane],
    free: &mut Vec<Chunk>,
    output: &mut Output<W>,
    mut next: impl FnMut(&mut Vec<u8>) -> Result<(), WriteError>,
) -> Result<usize, WriteError> {
    let (mut sent, mut written, mut more) = (0, 0, true);
    let mut result = Ok(());
    loop {
        while more && sent - written < lanes.len() * DEPTH {
            let mut chunk = free.pop().unwrap_or_default();
            result = result.and_then(|()| next(&mut chunk.raw));
            more = result.is_ok() && !chunk.raw.is_empty();
            if more && lanes[sent % lanes.len()].jobs.send(chunk).is_ok() {
                sent += 1;
            } else if more {
                (result, more) = (Err(lost_thread()), false);
            }
        }
        if written == sent {
            return result.map(|()| written);
        }
        // After an error the chunks that are on their way are still taken back.
        let lane = &lanes[written % lanes.len()];
        written += 1;
        match lane.done.recv() {
            Ok(Ok(chunk)) => {
                result = result.and_then(|()| chunk.write_to(output));
                free.push(chunk);
            }
            Ok(Err(error)) => result = result.and(Err(error.into())),
            Err(_) => result = result.and(Err(lost_thread())),
        }
        more &= result.is_ok();
    }
}

impl Lane {
    fn start<'scope>(scope: &'scope Scope<'scope, '_>, mut compressor: Compressor) -> Self {
        let (jobs, todo) = sync_channel::<Chunk>(DEPTH);
        let (ready, done) = sync_channel(DEPTH);
        scope.spawn(move || {
            for mut chunk in todo {
                chunk.packed.clear();
                let packed = compressor.compress_into(&chunk.raw, &mut chunk.packed);
                if ready.send(packed.map(|()| chunk)).is_err() {
                    return;
                }
            }
        });
        Self { jobs, done }
    }
}

impl Chunk {
    fn write_to<W: Write + Seek>(&self, output: &mut Output<W>) -> Result<(), WriteError> {
        let header = CompressedHeader {
            compressed: count("compressed chunk", self.packed.len())?,
            uncompressed: count("chunk", self.raw.len())?,
        };
        output.bytes(&header.to_bytes(output.order()))?;
        output.bytes(&self.packed)
    }
}

/// A thread is gone without an answer: it panicked, and the scope will say so.
fn lost_thread() -> WriteError {
    CompressError::Failed { codec: Codec::None, reason: "a thread ended early".to_owned() }.into()
}

#[cfg(test)]
#[cfg(feature = "zstd")]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::abi::ByteOrder;

    fn written(threads: usize, lens: &[usize], fail_at: Option<usize>) -> Result<Vec<u8>, ()> {
        let mut file = Cursor::new(Vec::new());
        let mut output = Output::new(&mut file, ByteOrder::Little, 0).unwrap();
        let result = thread::scope(|scope| {
            let mut writer = ChunkWriter::with_threads(scope, Codec::Zstd, threads).unwrap();
            let mut index = 0;
            writer.write(&mut output, |raw| {
                if fail_at == Some(index) {
                    return Err(WriteError::NotInVersion6 { what: "test" });
                }
                raw.clear();
                if let Some(&len) = lens.get(index) {
                    raw.extend((0..len).map(|i| (i / 5 * (index + 1)) as u8));
                }
                index += 1;
                Ok(())
            })
        });
        output.flush().unwrap();
        drop(output);
        result.map(|_| file.into_inner()).map_err(drop)
    }

    #[test]
    fn threads_change_nothing_in_what_is_written() {
        let lens: Vec<usize> = (1..60).map(|i| i * 611 % 40_000 + 1).collect();
        let alone = written(1, &lens, None).unwrap();
        assert_eq!(alone[..4], 59_u32.to_le_bytes());
        for threads in [2, 3, 8] {
            assert_eq!(written(threads, &lens, None).unwrap(), alone, "{threads} threads");
        }
    }

    #[test]
    fn nothing_is_a_count_of_zero() {
        assert_eq!(written(1, &[], None).unwrap(), [0; 4]);
        assert_eq!(written(3, &[], None).unwrap(), [0; 4]);
    }

    #[test]
    fn a_source_that_fails_ends_all_threads() {
        for threads in [1, 4] {
            assert!(written(threads, &[100; 50], Some(0)).is_err());
            assert!(written(threads, &[100; 50], Some(23)).is_err());
        }
    }
}
