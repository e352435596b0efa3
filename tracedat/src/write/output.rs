//! The output with its position, in the file's byte order.

use std::io::{self, BufWriter, Seek, SeekFrom, Write};

use super::WriteError;
use crate::abi::ByteOrder;

/// Bytes gathered before they are written.
const BUFFER_LEN: usize = 64 * 1024;

/// Writes in order, and patches what was written before.
#[derive(Debug)]
pub(super) struct Output<W: Write + Seek> {
    writer: BufWriter<W>,
    order: ByteOrder,
    /// Where the file begins: what is before will be taken out.
    base: u64,
    position: u64,
}

impl<W: Write + Seek> Output<W> {
    /// Starts to write at `position`.
    pub(super) fn new(writer: W, order: ByteOrder, position: u64) -> Result<Self, WriteError> {
        let writer = BufWriter::with_capacity(BUFFER_LEN, writer);
        let mut output = Self { writer, order, base: 0, position };
        let sought = output.writer.seek(SeekFrom::Start(position));
        sought.map_err(|source| output.failed(source))?;
        Ok(output)
    }

    /// Begins a file anew at `base`, from where positions count from now on.
    pub(super) fn begin_at(&mut self, base: u64) -> Result<(), WriteError> {
        let sought = self.writer.seek(SeekFrom::Start(base));
        sought.map_err(|source| self.failed(source))?;
        (self.base, self.position) = (base, 0);
        Ok(())
    }

    /// Takes what stands before the base for a part of the file again.
    pub(super) fn forget_base(&mut self) {
        self.position += std::mem::take(&mut self.base);
    }

    /// The byte order of all integers.
    pub(super) fn order(&self) -> ByteOrder {
        self.order
    }

    /// Where the next byte goes.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Writes bytes.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.writer.write_all(bytes).map_err(|source| self.failed(source))?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Writes a 16-bit number.
    pub(super) fn u16(&mut self, value: u16) -> Result<(), WriteError> {
        self.bytes(&self.order.put_u16(value))
    }

    /// Writes a 32-bit number.
    pub(super) fn u32(&mut self, value: u32) -> Result<(), WriteError> {
        self.bytes(&self.order.put_u32(value))
    }

    /// Writes a 64-bit number.
    pub(super) fn u64(&mut self, value: u64) -> Result<(), WriteError> {
        self.bytes(&self.order.put_u64(value))
    }

    /// Writes zeros.
    pub(super) fn zeros(&mut self, len: u64) -> Result<(), WriteError> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut left = len;
        while left > 0 {
            let now = left.min(ZEROS.len() as u64);
            self.bytes(&ZEROS[..now as usize])?;
            left -= now;
        }
        Ok(())
    }

    /// Writes zeros up to the next multiple of `page_size`.
    pub(super) fn align(&mut self, page_size: u32) -> Result<(), WriteError> {
        self.zeros(round_up(self.position, page_size) - self.position)
    }

    /// Overwrites bytes that were written before.
    pub(super) fn patch(&mut self, at: u64, bytes: &[u8]) -> Result<(), WriteError> {
        let (at, end) = (self.base + at, self.base + self.position);
        let result = self
            .writer
            .seek(SeekFrom::Start(at))
            .and_then(|_| self.writer.write_all(bytes))
            .and_then(|()| self.writer.seek(SeekFrom::Start(end)));
        result.map_err(|source| WriteError::Io { offset: at, source })?;
        Ok(())
    }

    /// Where the output ends, counted from its own start; that may be behind the next byte.
    pub(super) fn end(&mut self) -> Result<u64, WriteError> {
        let position = self.base + self.position;
        let result = self.writer.seek(SeekFrom::End(0)).and_then(|end| {
            self.writer.seek(SeekFrom::Start(position))?;
            Ok(end)
        });
        result.map_err(|source| self.failed(source))
    }

    /// Lets `copy` write to the output itself, past the buffer, and counts what it says it wrote.
    pub(super) fn with_inner<E>(
        &mut self,
        copy: impl FnOnce(&mut W) -> Result<u64, E>,
    ) -> Result<Result<u64, E>, WriteError> {
        self.flush()?;
        let copied = copy(self.writer.get_mut());
        if let Ok(len) = copied {
            self.position += len;
        }
        Ok(copied)
    }

    /// Hands all gathered bytes over.
    pub(super) fn flush(&mut self) -> Result<(), WriteError> {
        self.writer.flush().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> WriteError {
        WriteError::Io { offset: self.base + self.position, source }
    }
}

/// The next multiple of `page_size` that is not below `offset`.
pub(super) fn round_up(offset: u64, page_size: u32) -> u64 {
    offset.next_multiple_of(u64::from(page_size.max(1)))
}

/// A number of things that must fit in 32 bits.
pub(super) fn count(what: &'static str, len: usize) -> Result<u32, WriteError> {
    u32::try_from(len).map_err(|_| WriteError::TooLarge {
        what,
        size: len as u64,
        limit: u64::from(u32::MAX),
    })
}
