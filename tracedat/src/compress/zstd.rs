//! zstd, one frame per chunk.

use std::fmt;

use zstd::zstd_safe::{self, CCtx, CParameter, DCtx, ErrorCode, get_error_name};

use super::{Codec, CompressError, Effort};

/// The most bytes one compressed byte can become: a block that repeats one byte takes four bytes
/// and makes 128 KiB.
pub(super) const MAX_RATIO: usize = 128 * 1024 / 4;

/// How the library says that there is not enough room; it has no code for it that is stable.
const TOO_SMALL: &str = "Destination buffer is too small";

/// A frame that decompressors pass over, with four bytes in it.
pub(super) const SKIPPABLE: [u8; 12] = *b"\x50\x2a\x4d\x18\x04\0\0\0\xff\xff\xff\xff";

/// The version of the library.
pub(super) fn version() -> &'static str {
    zstd_safe::version_string()
}

/// A compression context.
pub(super) struct Compressor {
    context: CCtx<'static>,
    /// Room for one result, which the library need not find zeroed.
    packed: Vec<u8>,
}

impl Compressor {
    pub(super) fn new() -> Result<Self, CompressError> {
        let mut context = CCtx::try_create().ok_or_else(no_context)?;
        // Sizes stand before each frame, so the frame itself carries none.
        context.set_parameter(CParameter::ContentSizeFlag(false)).map_err(failed)?;
        Ok(Self { context, packed: Vec::new() })
    }

    pub(super) fn set_effort(&mut self, effort: Effort) -> Result<(), CompressError> {
        let level = match effort {
            Effort::Usual => zstd_safe::CLEVEL_DEFAULT,
            Effort::Quick => 1,
            // Lower ones take nearly the same time, and make several times as much of it.
            Effort::Little => -1,
            Effort::Least => zstd_safe::min_c_level(),
        };
        let level = CParameter::CompressionLevel(level);
        self.context.set_parameter(level).map(drop).map_err(failed)
    }

    pub(super) fn compress(&mut self, src: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
        self.packed.clear();
        self.packed.reserve(zstd_safe::compress_bound(src.len()));
        self.context.compress2(&mut self.packed, src).map_err(failed)?;
        out.extend_from_slice(&self.packed);
        Ok(())
    }
}

/// A decompression context.
pub(super) struct Decompressor(DCtx<'static>);

impl Decompressor {
    pub(super) fn new() -> Result<Self, CompressError> {
        DCtx::try_create().map(Self).ok_or_else(no_context)
    }

    /// Fills the capacity of `out`, which is empty; false when there is more. In one step, as a
    /// stream would allocate what the frame claims to need.
    pub(super) fn decompress(
        &mut self,
        src: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, CompressError> {
        match self.0.decompress(out, src) {
            Ok(_) => Ok(true),
            Err(code) if get_error_name(code) == TOO_SMALL => Ok(false),
            Err(code) => Err(failed(code)),
        }
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("zstd::Compressor")
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("zstd::Decompressor")
    }
}

fn no_context() -> CompressError {
    CompressError::Failed { codec: Codec::Zstd, reason: "no memory for a context".to_owned() }
}

fn failed(code: ErrorCode) -> CompressError {
    CompressError::Failed { codec: Codec::Zstd, reason: get_error_name(code).to_lowercase() }
}
