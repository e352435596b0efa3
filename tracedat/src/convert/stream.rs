//! Parts of a file as streams, a block or chunk in memory at a time.

use std::io::{self, Read};

use crate::abi::ByteOrder;
use crate::compress::{Codec, Decompressor};
use crate::error::{DecodeError, ReadError};
use crate::layout::CompressedHeader;
use crate::read::section;
use crate::source::ReadAt;

/// Larger chunks no writer makes.
const MAX_CHUNK: u32 = 64 << 20;

/// Bytes of the file as they are.
pub(super) struct PlainReader<'a> {
    source: &'a dyn ReadAt,
    next: u64,
    left: u64,
}

impl<'a> PlainReader<'a> {
    pub(super) fn new(source: &'a dyn ReadAt, offset: u64, len: u64) -> Self {
        Self { source, next: offset, left: len }
    }

    /// Bytes that are still to be read.
    pub(super) fn left(&self) -> u64 {
        self.left
    }
}

impl Read for PlainReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = self.source.read_at(&mut buffer[..len], self.next)?.min(len);
        self.next = self.next.saturating_add(read as u64);
        self.left -= read as u64;
        Ok(read)
    }
}

/// Chunks of the file, decompressed.
pub(super) struct ChunkReader<'a> {
    source: &'a dyn ReadAt,
    order: ByteOrder,
    decompressor: Decompressor,
    next: u64,
    chunks: u32,
    size: u64,
    compressed: Vec<u8>,
    chunk: Vec<u8>,
    used: usize,
}

impl<'a> ChunkReader<'a> {
    /// Finds out the size of all chunks, of which their headers are read.
    pub(super) fn new(
        source: &'a dyn ReadAt,
        codec: Codec,
        order: ByteOrder,
        offset: u64,
    ) -> Result<Self, ReadError> {
        let chunks = order.u32(array(source, offset)?);
        let next = offset.saturating_add(4);
        let (mut at, mut size) = (next, 0_u64);
        for _ in 0..chunks {
            let header = header(source, order, at)?;
            size = size.saturating_add(u64::from(header.uncompressed));
            at = end(at, header);
        }
        let decompressor = section::decompressor(codec, offset)?;
        let (compressed, chunk) = (Vec::new(), Vec::new());
        Ok(Self { source, order, decompressor, next, chunks, size, compressed, chunk, used: 0 })
    }

    /// Bytes of all chunks, decompressed.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    fn fill(&mut self) -> Result<(), ReadError> {
        let (at, header) = (self.next, header(self.source, self.order, self.next)?);
        let body = at.saturating_add(CompressedHeader::LEN as u64);
        let compressed = u64::from(header.compressed);
        section::read_into(self.source, body, compressed, &mut self.compressed)?;
        self.decompressor
            .decompress_into(&self.compressed, header.uncompressed as usize, &mut self.chunk)
            .map_err(|source| ReadError::Decompress { offset: body, compressed, source })?;
        (self.next, self.used) = (end(at, header), 0);
        self.chunks -= 1;
        Ok(())
    }
}

impl Read for ChunkReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.used >= self.chunk.len() && self.chunks > 0 {
            self.fill().map_err(io::Error::other)?;
        }
        let rest = self.chunk.get(self.used..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        self.used += len;
        Ok(len)
    }
}

fn array<const N: usize>(source: &dyn ReadAt, offset: u64) -> Result<[u8; N], ReadError> {
    let mut bytes = [0; N];
    let filled = source.read_full_at(&mut bytes, offset);
    let filled = filled.map_err(|source| ReadError::Io { offset, source })?;
    if filled < N {
        let (need, left) = (N as u64, filled as u64);
        return Err(DecodeError::Truncated { offset, need, left }.into());
    }
    Ok(bytes)
}

fn header(source: &dyn ReadAt, order: ByteOrder, at: u64) -> Result<CompressedHeader, ReadError> {
    let header = CompressedHeader::from_bytes(&array(source, at)?, order);
    if header.uncompressed > MAX_CHUNK {
        let (what, value) = ("uncompressed size of a chunk", u64::from(header.uncompressed));
        return Err(DecodeError::OutOfRange { offset: at, what, value }.into());
    }
    Ok(header)
}

/// Where the chunk at an offset ends.
fn end(at: u64, header: CompressedHeader) -> u64 {
    at.saturating_add(CompressedHeader::LEN as u64).saturating_add(u64::from(header.compressed))
}
