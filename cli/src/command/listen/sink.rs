//! What arrives of one CPU, on its way into its region of the file.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use trace_transport::splice::{Moved, Mover};
use tracedat::ByteOrder;
use tracedat::WriteError;
use tracedat::compress::Codec;
use tracedat::write::{ChunkWriter, Recorded, Region, RegionFile};

use super::workshop::{Bench, Workshop};

/// Bytes of chunks that are gathered before they are written.
const WRITE_LEN: usize = 64 << 10;

/// Takes the sub-buffers of one CPU.
#[derive(Debug)]
pub(super) struct RegionSink {
    way: Way,
    page_size: u64,
    /// Bytes that were taken, whether they could be written or not.
    bytes: u64,
}

#[derive(Debug)]
enum Way {
    Plain {
        file: File,
        region: Region,
        /// Bytes that are in the file.
        written: u64,
    },
    Chunks {
        writer: ChunkWriter,
        codec: Codec,
        /// What is no whole chunk yet.
        raw: Vec<u8>,
        chunk_len: usize,
    },
}

impl RegionSink {
    /// Starts at the beginning of `region`.
    pub(super) fn new(
        file: File,
        region: Region,
        codec: Codec,
        page_size: u32,
        order: ByteOrder,
    ) -> Self {
        let way = match codec {
            Codec::None => Way::Plain { file, region, written: 0 },
            codec => Way::Chunks {
                writer: ChunkWriter::new(RegionFile::new(file, region, order)),
                codec,
                raw: Vec::new(),
                chunk_len: ChunkWriter::chunk_len(page_size),
            },
        };
        Self { way, page_size: u64::from(page_size.max(1)), bytes: 0 }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// They cannot be compressed or written.
    pub(super) fn write(&mut self, mut bytes: &[u8], bench: &mut Bench) -> Result<(), WriteError> {
        match &mut self.way {
            Way::Plain { file, region, written } => {
                self.bytes += bytes.len() as u64;
                let offset = place(region, *written, bytes.len())?;
                let failed = |source| WriteError::Io { offset, source };
                file.write_all_at(bytes, offset).map_err(failed)?;
                *written += bytes.len() as u64;
            }
            Way::Chunks { writer, codec, raw, chunk_len } => {
                while !bytes.is_empty() {
                    let room = chunk_len.saturating_sub(raw.len()).max(1);
                    let now = bytes.get(..room).unwrap_or(bytes);
                    raw.extend_from_slice(now);
                    self.bytes += now.len() as u64;
                    bytes = bytes.get(now.len()..).unwrap_or_default();
                    if raw.len() >= *chunk_len {
                        writer.add(raw, bench.compressor(*codec)?)?;
                        raw.clear();
                    }
                }
                if writer.waiting() >= WRITE_LEN {
                    writer.write()?;
                }
            }
        }
        Ok(())
    }

    /// Takes up to `limit` bytes of a connection, by way of a pipe where they are not compressed.
    ///
    /// # Errors
    /// Of the connection, or of the file.
    pub(super) fn take(
        &mut self,
        from: impl AsFd,
        lane: &mut Lane,
        limit: usize,
        workshop: &Workshop,
    ) -> Result<Taken, TakeError> {
        match &mut self.way {
            Way::Plain { file, region, written } => {
                let moved = lane.fill(from.as_fd(), limit).map_err(TakeError::Peer)?;
                let Moved::Bytes(count) = moved else { return Ok(Taken::of(moved)) };
                self.bytes += count as u64;
                let start = place(region, *written, count)?;
                let mut offset = start;
                let drained = lane.drain(&*file, &mut offset, count);
                *written += offset.saturating_sub(start);
                drained.map_err(|source| WriteError::Io { offset, source })?;
                Ok(Taken::Bytes(count))
            }
            Way::Chunks { writer, codec, raw, chunk_len } => {
                let have = raw.len();
                let room = chunk_len.saturating_sub(have).clamp(1, limit.max(1));
                raw.resize(have + room, 0);
                let read = nix::unistd::read(from.as_fd(), raw.get_mut(have..).unwrap_or_default());
                raw.truncate(have + read.unwrap_or(0));
                let count = match read {
                    Ok(0) => return Ok(Taken::End),
                    Ok(count) => count,
                    Err(nix::Error::EAGAIN | nix::Error::EINTR) => return Ok(Taken::Nothing),
                    Err(error) => return Err(TakeError::Peer(error.into())),
                };
                self.bytes += count as u64;
                if raw.len() >= *chunk_len {
                    workshop.with(|bench| writer.add(raw, bench.compressor(*codec)?))?;
                    raw.clear();
                    if writer.waiting() >= WRITE_LEN {
                        writer.write()?;
                    }
                }
                Ok(Taken::Bytes(count))
            }
        }
    }

    /// Bytes that were taken, whether they could be written or not.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes what waits: whole sub-buffers. Returns what is in the file.
    ///
    /// # Errors
    /// It cannot be written; [`RegionSink::recorded`] tells what is there.
    pub(super) fn finish(&mut self, workshop: &Workshop) -> Result<(), WriteError> {
        let page_size = self.page_size as usize;
        match &mut self.way {
            Way::Plain { .. } => Ok(()),
            Way::Chunks { writer, codec, raw, .. } => {
                raw.truncate(raw.len() / page_size * page_size);
                if !raw.is_empty() {
                    workshop.with(|bench| writer.add(raw, bench.compressor(*codec)?))?;
                    raw.clear();
                }
                writer.write()
            }
        }
    }

    /// What is whole in the file.
    pub(super) fn recorded(&self) -> Recorded {
        match &self.way {
            Way::Plain { written, .. } => {
                let whole = written / self.page_size * self.page_size;
                Recorded { size_on_disk: whole, size: whole, ..Recorded::default() }
            }
            Way::Chunks { writer, .. } => writer.recorded(),
        }
    }
}

/// Where the next bytes go, if they fit.
fn place(region: &Region, used: u64, len: usize) -> Result<u64, WriteError> {
    let end = used.saturating_add(len as u64);
    if end > region.len {
        let (what, limit) = ("data of a CPU", region.len);
        return Err(WriteError::TooLarge { what, size: end, limit });
    }
    Ok(region.offset + used)
}

/// What one step brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Bytes(usize),
    Nothing,
    End,
}

impl Taken {
    fn of(moved: Moved) -> Self {
        match moved {
            Moved::Bytes(count) => Self::Bytes(count),
            Moved::End => Self::End,
            Moved::SourceEmpty | Moved::TargetFull => Self::Nothing,
        }
    }
}

/// Why nothing was taken.
#[derive(Debug)]
pub(super) enum TakeError {
    /// The other end broke off.
    Peer(io::Error),
    /// The file cannot take it.
    File(WriteError),
}

impl From<WriteError> for TakeError {
    fn from(error: WriteError) -> Self {
        Self::File(error)
    }
}

/// The pipe between connections and the file. It is empty between steps, unless one of them has failed.
#[derive(Debug)]
pub(super) struct Lane {
    read: io::PipeReader,
    write: io::PipeWriter,
    filling: Mover,
    draining: Mover,
}

/// What a pipe may hold of what is on its way.
const PIPE_LEN: i32 = 1 << 20;

impl Lane {
    pub(super) fn new() -> io::Result<Self> {
        let (read, write) = io::pipe()?;
        // The system's limit for all pipes of a user may be reached; then it is a smaller one.
        let _ = nix::fcntl::fcntl(&write, nix::fcntl::FcntlArg::F_SETPIPE_SZ(PIPE_LEN));
        let (filling, draining) = (Mover::new(), Mover::new());
        Ok(Self { read, write, filling, draining })
    }

    fn fill(&mut self, from: impl AsFd, limit: usize) -> io::Result<Moved> {
        self.filling.step(from, &self.write, None, limit)
    }

    fn drain(&mut self, to: impl AsFd, offset: &mut u64, count: usize) -> io::Result<()> {
        let mut left = count;
        while left > 0 {
            match self.draining.step(&self.read, to.as_fd(), Some(&mut *offset), left)? {
                Moved::Bytes(moved) => left = left.saturating_sub(moved),
                Moved::End | Moved::SourceEmpty | Moved::TargetFull => {
                    return Err(io::ErrorKind::WriteZero.into());
                }
            }
        }
        Ok(())
    }
}
