//! Reads parts of a file into memory, compressed ones too.

use crate::abi::Abi;
use crate::compress::{Codec, CompressError, Decompressor};
use crate::error::{DecodeError, ReadError};
use crate::layout::CompressedHeader;
use crate::source::ReadAt;

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where it starts.
    pub(crate) offset: u64,
    /// Bytes in the file.
    pub(crate) len: u64,
    /// How it is stored.
    pub(crate) storage: Storage,
}

/// How a part of a file is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// As it is.
    Plain,
    /// Both sizes, then compressed bytes.
    Compressed,
    /// Number of chunks, then each like [`Storage::Compressed`].
    Chunks,
}

/// Memory grows by this much before more of a claimed size is believed.
const STEP: usize = 1 << 20;

/// No part of the metadata is larger.
const MAX_SIZE: u64 = 1 << 30;

/// No compressed part yields more than this times its size, unless it is small. Texts of kernels
/// shrink to a fifth, the most regular ones to a fiftieth.
const MAX_RATIO: u64 = 256;
const SMALL: u64 = 1 << 20;

/// Reads `len` bytes at `offset`.
pub(crate) fn read(source: &dyn ReadAt, offset: u64, len: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    read_into(source, offset, len, &mut bytes)?;
    Ok(bytes)
}

/// Replaces `bytes` by `len` bytes at `offset`.
pub(crate) fn read_into(
    source: &dyn ReadAt,
    offset: u64,
    len: u64,
    bytes: &mut Vec<u8>,
) -> Result<(), ReadError> {
    bytes.clear();
    let truncated = |left| DecodeError::Truncated { offset, need: len, left };
    let wanted = usize::try_from(len).map_err(|_| truncated(0))?;
    while bytes.len() < wanted {
        let start = bytes.len();
        bytes.resize(wanted.min(start + STEP), 0);
        let at = offset.saturating_add(start as u64);
        let filled = source
            .read_full_at(&mut bytes[start..], at)
            .map_err(|source| ReadError::Io { offset: at, source })?;
        if start + filled < bytes.len() {
            return Err(truncated((start + filled) as u64).into());
        }
    }
    Ok(())
}

/// Reads a part of a file, decompressed.
pub(crate) fn load(
    source: &dyn ReadAt,
    codec: Codec,
    place: &Place,
    abi: Abi,
) -> Result<Vec<u8>, ReadError> {
    if place.len > MAX_SIZE {
        let (offset, value) = (place.offset, place.len);
        return Err(DecodeError::OutOfRange { offset, what: "size of a section", value }.into());
    }
    match place.storage {
        Storage::Plain => read(source, place.offset, place.len),
        Storage::Compressed => {
            let mut out = Vec::new();
            let mut offset = place.offset;
            let mut decompressor = decompressor(codec, place.offset)?;
            load_chunk(source, &mut decompressor, &mut offset, abi, &mut out)?;
            Ok(out)
        }
        Storage::Chunks => {
            let mut offset = place.offset;
            let count = read(source, offset, 4)?;
            let count = abi.byte_order.uint(&count).unwrap_or(0);
            offset = offset.saturating_add(4);
            let mut decompressor = decompressor(codec, place.offset)?;
            let (mut out, mut chunk) = (Vec::new(), Vec::new());
            for _ in 0..count {
                load_chunk(source, &mut decompressor, &mut offset, abi, &mut chunk)?;
                let value = out.len() as u64 + chunk.len() as u64;
                if value > MAX_SIZE {
                    let (offset, what) = (place.offset, "uncompressed size of a text");
                    return Err(DecodeError::OutOfRange { offset, what, value }.into());
                }
                out.extend_from_slice(&chunk);
            }
            Ok(out)
        }
    }
}

/// What undoes a compression.
pub(crate) fn decompressor(codec: Codec, offset: u64) -> Result<Decompressor, ReadError> {
    codec.decompressor().map_err(|source| ReadError::Decompress { offset, compressed: 0, source })
}

/// A chunk is as long as it says itself, whatever its section does; it may be shorter than it says when
/// decompressed, but not longer.
fn load_chunk(
    source: &dyn ReadAt,
    decompressor: &mut Decompressor,
    offset: &mut u64,
    abi: Abi,
    out: &mut Vec<u8>,
) -> Result<(), ReadError> {
    let mut header = [0; CompressedHeader::LEN];
    let start = *offset;
    let filled = source
        .read_full_at(&mut header, start)
        .map_err(|source| ReadError::Io { offset: start, source })?;
    let body = start.saturating_add(CompressedHeader::LEN as u64);
    if filled < header.len() {
        let left = filled as u64;
        let need = CompressedHeader::LEN as u64;
        return Err(DecodeError::Truncated { offset: start, need, left }.into());
    }
    let CompressedHeader { compressed, uncompressed } =
        CompressedHeader::from_bytes(&header, abi.byte_order);
    let (compressed, uncompressed) = (u64::from(compressed), u64::from(uncompressed));
    let limit = compressed.saturating_mul(MAX_RATIO).clamp(SMALL, MAX_SIZE);
    // At most MAX_SIZE, so it fits.
    let size = uncompressed.min(limit) as usize;
    let bytes = read(source, body, compressed)?;
    let result = match decompressor.decompress_into(&bytes, size, out) {
        Err(CompressError::WrongSize { found, .. }) if found < size => {
            decompressor.decompress_into(&bytes, found, out)
        }
        result => result,
    };
    result.map_err(|source| ReadError::Decompress { offset: body, compressed, source })?;
    *offset = body.saturating_add(compressed);
    Ok(())
}
