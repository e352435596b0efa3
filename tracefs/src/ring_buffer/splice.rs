//! Sub-buffers moved inside the kernel, through a pipe.

use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, BorrowedFd};

use super::CpuBuffer;
use crate::sys;

/// What an unprivileged pipe may grow to; more does not move more at once.
const PIPE_SIZE: i32 = 1 << 20;

/// A pipe between a ring buffer and a sink. A slot holds a whole sub-buffer of any size.
#[derive(Debug)]
pub(crate) struct SplicePipe {
    reader: PipeReader,
    writer: PipeWriter,
    slots: usize,
}

impl SplicePipe {
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        // Users over their pipe quota get what they have; a smaller pipe only needs more calls.
        let size = sys::set_pipe_size(writer.as_fd(), PIPE_SIZE)
            .or_else(|_| sys::pipe_size(writer.as_fd()))?;
        Ok(Self { reader, writer, slots: (size / sys::page_size()).max(1) })
    }

    /// Takes full sub-buffers into the pipe, which must be empty; returns how many bytes.
    pub(crate) fn fill(&self, buffer: &CpuBuffer) -> io::Result<usize> {
        let most = self.slots.saturating_mul(buffer.sub_buffer_size());
        loop {
            match sys::splice(buffer.as_fd(), self.writer.as_fd(), most) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                result => return result,
            }
        }
    }

    /// Moves up to `len` of the bytes in the pipe to `sink`, at its own position or at `offset`.
    pub(crate) fn drain(
        &self,
        sink: BorrowedFd<'_>,
        offset: Option<u64>,
        len: usize,
    ) -> io::Result<usize> {
        sys::splice_at(self.reader.as_fd(), sink, offset, len)
    }

    /// Reads bytes in the pipe into memory. There must be some.
    pub(crate) fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        (&self.reader).read(into)
    }
}
