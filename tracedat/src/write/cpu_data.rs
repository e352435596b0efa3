//! Data of CPUs on its way into a file.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use super::output::Output;
use super::{DataOf, WriteError};

/// Bytes copied at once from a source that is not a file.
const COPY_LEN: usize = 128 * 1024;

/// The data of a buffer (instance).
#[derive(Debug)]
pub struct BufferData<'a> {
    /// Name of the instance, empty for the top-level one.
    pub name: &'a str,
    /// Its trace clock, as `local`.
    pub clock: &'a str,
    /// Size of its sub-buffers, in bytes.
    pub page_size: u32,
    /// Its CPUs; those without data may be left out.
    pub cpus: Vec<CpuSource<'a>>,
}

/// The text of a buffer's `trace` file, for latency tracers.
pub struct TextData<'a> {
    /// Name of the instance, empty for the top-level one.
    pub name: &'a str,
    /// Its trace clock, as `local`.
    pub clock: &'a str,
    /// The text, read to its end.
    pub data: &'a mut dyn Read,
}

/// The sub-buffers of one CPU, one after the other as the kernel gave them.
#[derive(Debug)]
pub struct CpuSource<'a> {
    /// The CPU's number.
    pub cpu: u32,
    /// Bytes to take from the source.
    pub size: u64,
    stream: Stream<'a>,
}

impl<'a> CpuSource<'a> {
    /// Takes `size` bytes of a file from `offset` on. What goes uncompressed from file to file is
    /// copied inside the kernel where it can. Moves the file's own position.
    pub fn from_file(cpu: u32, file: &'a File, offset: u64, size: u64) -> Self {
        Self { cpu, size, stream: Stream::File { file, offset } }
    }

    /// Takes `size` bytes of a reader.
    pub fn from_reader(cpu: u32, reader: &'a mut dyn Read, size: u64) -> Self {
        Self { cpu, size, stream: Stream::Reader(reader) }
    }
}

/// Where the data of one CPU went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Name of the buffer, empty for the top-level one.
    pub buffer: String,
    /// The CPU.
    pub cpu: u32,
    /// Where its data starts in the file.
    pub offset: u64,
    /// Bytes it takes there.
    pub size_on_disk: u64,
    /// Bytes of sub-buffers, the last one filled up.
    pub size: u64,
}

impl fmt::Debug for TextData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextData").field("name", &self.name).field("clock", &self.clock).finish()
    }
}

/// Where bytes come from.
enum Stream<'a> {
    File { file: &'a File, offset: u64 },
    Reader(&'a mut dyn Read),
}

impl fmt::Debug for Stream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, offset } => write!(f, "{file:?} from {offset:#x}"),
            Self::Reader(_) => f.write_str("reader"),
        }
    }
}

/// Refuses what neither version can store.
pub(super) fn check(buffers: &[BufferData<'_>]) -> Result<(), WriteError> {
    for (index, buffer) in buffers.iter().enumerate() {
        if buffer.page_size == 0 {
            return Err(WriteError::NoPageSize { buffer: buffer.name.to_owned() });
        }
        if buffers.iter().take(index).any(|other| other.name == buffer.name) {
            return Err(WriteError::Duplicate { buffer: buffer.name.to_owned() });
        }
    }
    Ok(())
}

impl CpuSource<'_> {
    /// The size in whole sub-buffers.
    pub(super) fn padded_size(&self, page_size: u32) -> Result<u64, WriteError> {
        self.size.checked_next_multiple_of(u64::from(page_size)).ok_or(WriteError::TooLarge {
            what: "data of a CPU",
            size: self.size,
            limit: u64::MAX - u64::from(page_size),
        })
    }

    /// Copies all of the source as it is, and fills the last sub-buffer up.
    pub(super) fn copy_to<W: Write + Seek>(
        &mut self,
        buffer: &str,
        page_size: u32,
        output: &mut Output<W>,
    ) -> Result<(), WriteError> {
        let padding = self.padded_size(page_size)? - self.size;
        match &mut self.stream {
            Stream::File { file, offset } => {
                let (size, mut file) = (self.size, *file);
                let copied = output.with_inner(|writer| {
                    file.seek(SeekFrom::Start(*offset))?;
                    // `io::copy` sees two files here, and lets the kernel copy.
                    io::copy(&mut file.take(size), writer)
                })?;
                let found = copied.map_err(|source| self.failed(buffer, source))?;
                self.check_size(buffer, found)?;
            }
            Stream::Reader(_) => {
                let mut block = Vec::new();
                let mut left = self.size;
                while left > 0 {
                    let now = left.min(COPY_LEN as u64);
                    self.read(buffer, self.size - left, now as usize, &mut block)?;
                    output.bytes(&block)?;
                    left -= now;
                }
            }
        }
        output.zeros(padding)
    }

    /// Positions the source for [`CpuSource::read`].
    pub(super) fn start(&mut self, buffer: &str) -> Result<(), WriteError> {
        if let Stream::File { file, offset } = &self.stream {
            let (mut file, offset) = (*file, *offset);
            file.seek(SeekFrom::Start(offset)).map_err(|source| self.failed(buffer, source))?;
        }
        Ok(())
    }

    /// Reads the next `len` bytes; `before` bytes were read before.
    pub(super) fn read(
        &mut self,
        buffer: &str,
        before: u64,
        len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), WriteError> {
        out.clear();
        let limit = len as u64;
        let result = match &mut self.stream {
            Stream::File { file, .. } => file.take(limit).read_to_end(out),
            Stream::Reader(reader) => reader.take(limit).read_to_end(out),
        };
        let found = result.map_err(|source| self.failed(buffer, source))?;
        if found < len {
            self.check_size(buffer, before + found as u64)?;
        }
        Ok(())
    }

    fn check_size(&self, buffer: &str, found: u64) -> Result<(), WriteError> {
        if found == self.size {
            return Ok(());
        }
        Err(WriteError::ShortSource { of: self.name(buffer), stated: self.size, found })
    }

    fn failed(&self, buffer: &str, source: io::Error) -> WriteError {
        WriteError::Source { of: self.name(buffer), source }
    }

    pub(super) fn name(&self, buffer: &str) -> DataOf {
        DataOf { buffer: buffer.to_owned(), cpu: self.cpu }
    }
}
