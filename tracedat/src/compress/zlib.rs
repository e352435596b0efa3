//! The zlib format: two bytes of header, deflate, Adler-32.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{Codec, CompressError};

/// The most bytes one compressed byte can become: 258 bytes take two bits, rounded up.
pub(super) const MAX_RATIO: usize = 1032;

/// A deflate state.
#[derive(Debug)]
pub(super) struct Compressor(Compress);

impl Compressor {
    pub(super) fn new() -> Self {
        Self(Compress::new(Compression::default(), true))
    }

    pub(super) fn compress(&mut self, src: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
        self.0.reset();
        let mut left = src;
        loop {
            out.reserve(left.len() / 2 + 64);
            let before = self.0.total_in();
            let status = self
                .0
                .compress_vec(left, out, FlushCompress::Finish)
                .map_err(|error| failed(error.to_string()))?;
            left = advance(left, self.0.total_in() - before);
            if status == Status::StreamEnd {
                return Ok(());
            }
        }
    }
}

/// An inflate state.
#[derive(Debug)]
pub(super) struct Decompressor(Decompress);

impl Decompressor {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// Fills the capacity of `out`, which is empty; false when there is more.
    pub(super) fn decompress(
        &mut self,
        src: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, CompressError> {
        self.0.reset(true);
        let status = self
            .0
            .decompress_vec(src, out, FlushDecompress::Finish)
            .map_err(|error| failed(error.to_string()))?;
        match status {
            Status::StreamEnd => Ok(true),
            // All of the room is used, and the end has not come.
            _ if out.len() == out.capacity() => Ok(false),
            _ => Err(failed("the data ends too early".to_owned())),
        }
    }
}

fn advance(bytes: &[u8], by: u64) -> &[u8] {
    usize::try_from(by).ok().and_then(|by| bytes.get(by..)).unwrap_or_default()
}

fn failed(reason: String) -> CompressError {
    CompressError::Failed { codec: Codec::Zlib, reason }
}
