//! The zlib format: two bytes of header, deflate, Adler-32.

use std::fmt;

use libdeflater::{CompressionLvl, DecompressionError};

use super::{Codec, CompressError, Effort};

/// The most bytes one compressed byte can become: 258 bytes take two bits, rounded up.
pub(super) const MAX_RATIO: usize = 1032;

/// As small as zlib's best level, which other writers of the format use.
const LEVEL: i32 = 9;

/// A deflate state.
pub(super) struct Compressor(libdeflater::Compressor);

impl Compressor {
    pub(super) fn new() -> Self {
        Self::at_level(LEVEL)
    }

    pub(super) fn set_effort(&mut self, effort: Effort) {
        *self = Self::at_level(match effort {
            Effort::Usual | Effort::Lists => LEVEL,
            Effort::Little => 1,
            Effort::Least => 0,
        });
    }

    fn at_level(level: i32) -> Self {
        Self(libdeflater::Compressor::new(CompressionLvl::new(level).unwrap_or_default()))
    }

    pub(super) fn compress(&mut self, src: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
        let start = out.len();
        out.resize(start.saturating_add(self.0.zlib_compress_bound(src.len())), 0);
        let len = self.0.zlib_compress(src, &mut out[start..]);
        let len = len.map_err(|error| failed(error.to_string()))?;
        out.truncate(start + len);
        Ok(())
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").field("level", &LEVEL).finish_non_exhaustive()
    }
}

/// An inflate state.
pub(super) struct Decompressor(libdeflater::Decompressor);

impl Decompressor {
    pub(super) fn new() -> Self {
        Self(libdeflater::Decompressor::new())
    }

    /// Fills the capacity of `out`, which is empty; false when there is more.
    pub(super) fn decompress(
        &mut self,
        src: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, CompressError> {
        out.resize(out.capacity(), 0);
        match self.0.zlib_decompress(src, out) {
            Ok(len) => {
                out.truncate(len);
                Ok(true)
            }
            Err(DecompressionError::InsufficientSpace) => Ok(false),
            Err(DecompressionError::BadData) => {
                Err(failed("the data is damaged or ends too early".to_owned()))
            }
        }
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").finish_non_exhaustive()
    }
}

fn failed(reason: String) -> CompressError {
    CompressError::Failed { codec: Codec::Zlib, reason }
}
