//! Chunks of sub-buffers on their way into a region of a file.

use super::region::RegionFile;
use super::{Recorded, WriteError};
use crate::compress::Compressor;
use crate::layout::{CHUNK_SUB_BUFFERS, CompressedHeader};

/// Compresses chunks and writes them to a region, whole ones only, whoever is killed. Which thread
/// does that, and with whose compressor, is the caller's.
#[derive(Debug)]
pub struct ChunkWriter {
    region: RegionFile,
    /// Chunks that are not written yet, and the bytes of sub-buffers in them.
    out: Vec<u8>,
    chunks: u32,
    size: u64,
}

impl ChunkWriter {
    /// Bytes of a chunk as readers expect them, of sub-buffers of `page_size` bytes.
    pub const fn chunk_len(page_size: u32) -> usize {
        page_size.saturating_mul(CHUNK_SUB_BUFFERS) as usize
    }

    /// Starts at the beginning of `region`.
    pub fn new(region: RegionFile) -> Self {
        Self { region: region.in_chunks(), out: Vec::new(), chunks: 0, size: 0 }
    }

    /// Compresses one chunk, whole sub-buffers; it waits for [`ChunkWriter::write`]. Where the half of a
    /// capped region has no room for it, those before are written and the next half begins.
    ///
    /// # Errors
    /// When it cannot be compressed, or those before it cannot be written.
    pub fn add(&mut self, raw: &[u8], compressor: &mut Compressor) -> Result<(), WriteError> {
        if self.region.room() < self.size.saturating_add(raw.len() as u64) {
            self.write()?;
            self.region.begin_half()?;
        }
        let start = self.out.len();
        self.out.resize(start + CompressedHeader::LEN, 0);
        compressor.compress_into(raw, &mut self.out)?;
        if self.region.needs_slack() {
            self.out.extend_from_slice(compressor.slack());
        }
        let too_large = |_| WriteError::TooLarge {
            what: "chunk",
            size: raw.len() as u64,
            limit: u64::from(u32::MAX),
        };
        let compressed = self.out.len() - start - CompressedHeader::LEN;
        let header = CompressedHeader {
            compressed: u32::try_from(compressed).map_err(too_large)?,
            uncompressed: u32::try_from(raw.len()).map_err(too_large)?,
        };
        if let Some(place) = self.out.get_mut(start..start + CompressedHeader::LEN) {
            place.copy_from_slice(&header.to_bytes(self.region.order()));
        }
        self.chunks += 1;
        self.size += raw.len() as u64;
        Ok(())
    }

    /// Bytes of chunks that wait to be written.
    pub fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Writes the chunks that wait, and then how many there are in all.
    ///
    /// # Errors
    /// When the file or the region is full. What waits stays.
    pub fn write(&mut self) -> Result<(), WriteError> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.region.append(&self.out, self.size, self.chunks)?;
        self.out.clear();
        (self.size, self.chunks) = (0, 0);
        Ok(())
    }

    /// What is whole in the file.
    pub fn recorded(&self) -> Recorded {
        self.region.recorded()
    }
}
