//! The sub-buffers of one CPU as they are, for who copies them.

use std::sync::Arc;

use super::cpu_data::{CpuStream, Part, Shared};
use crate::clock::ClockCorrection;
use crate::compress::Codec;
use crate::error::ReadError;
use crate::metadata::{CpuData, Metadata, Warning};
use crate::source::ReadAt;

/// Bytes of the file that are held at once.
const WINDOW: usize = 64 << 10;

/// The sub-buffers of one CPU, decompressed, one after the other.
pub(crate) struct SubBuffers {
    stream: CpuStream,
    shared: Shared,
    current: (usize, usize),
}

impl SubBuffers {
    /// Before the first sub-buffer of a CPU; `buffer` is an index of [`Metadata::buffers`].
    pub(crate) fn new(
        source: &Arc<dyn ReadAt>,
        metadata: &Metadata,
        buffer: usize,
        data: &CpuData,
    ) -> Option<Self> {
        let codec = Codec::from_name(&metadata.compression.name).unwrap_or_default();
        let (header_page, abi) = (metadata.header_page, metadata.abi);
        let index = u32::try_from(buffer).ok()?;
        let buffer = metadata.buffers.get(buffer)?;
        let stream = CpuStream::new(data, buffer, index, header_page, abi, WINDOW);
        let shared = Shared::new(Arc::clone(source), codec, abi);
        Some(Self { stream, shared, current: (0, 0) })
    }

    /// Goes before a sub-buffer such that no record from `time` on is before it, without reading what is. Either it
    /// is the first one, or older records come there first.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub(crate) fn seek(
        &mut self,
        time: u64,
        correction: ClockCorrection,
    ) -> Result<Part, ReadError> {
        self.stream.correction = correction;
        let part = self.stream.part(time, u64::MAX, &mut self.shared)?;
        self.go_to(part);
        Ok(part)
    }

    /// Goes before the first sub-buffer of a part.
    pub(crate) fn go_to(&mut self, part: Part) {
        self.stream.go_to(part);
        self.current = (0, 0);
    }

    /// Comes to the next sub-buffer; false after the last.
    ///
    /// # Errors
    ///
    /// The file cannot be read. A chunk that does not decompress is skipped, with a warning.
    pub(crate) fn advance(&mut self) -> Result<bool, ReadError> {
        let next = self.stream.next_raw(&mut self.shared)?;
        self.current = next.unwrap_or_default();
        Ok(next.is_some())
    }

    /// The sub-buffer, without what lies behind its data when it is a very large one.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.stream.raw(self.current)
    }

    /// What could not be read so far.
    pub(crate) fn warnings(&self) -> &[Warning] {
        &self.shared.warnings
    }
}
