//! Sub-buffers through memory.

use std::fs::File;
use std::io::{self, Read};

use super::CpuBuffer;

/// Where the count of committed bytes stands: behind the 64-bit timestamp. Its low 32 bits hold
/// the count and the flags, whatever the size of the kernel's `long`.
pub(super) const COMMIT: usize =
    if cfg!(all(target_endian = "big", target_pointer_width = "64")) { 12 } else { 8 };
pub(super) const COMMIT_MASK: u32 = 0x07ff_ffff;

/// Memory for one sub-buffer.
#[derive(Debug, Default)]
pub(crate) struct SubBuffer {
    bytes: Vec<u8>,
}

impl SubBuffer {
    /// Memory for the sub-buffers of `buffer`.
    pub(crate) fn new(buffer: &CpuBuffer) -> Self {
        Self { bytes: vec![0; buffer.sub_buffer_size()] }
    }

    /// Takes the next one; nothing if there is no event.
    pub(crate) fn take(&mut self, buffer: &CpuBuffer) -> io::Result<Option<&[u8]>> {
        Ok(buffer.read(&mut self.bytes)?.then_some(&self.bytes))
    }

    /// The last one.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The memory, to be filled with one or exchanged for another of its size.
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Whether the last one was taken while the kernel was still filling it, so that there is
    /// no hurry to take another. A guess: sub-buffers are seldom full to the last byte.
    pub(crate) fn is_partial(&self) -> bool {
        is_partial(&self.bytes)
    }
}

/// The same of a sub-buffer that is elsewhere.
pub(crate) fn is_partial(sub_buffer: &[u8]) -> bool {
    let word = sub_buffer.get(COMMIT..).and_then(|rest| rest.first_chunk::<4>());
    let committed = word.map_or(0, |word| u32::from_ne_bytes(*word) & COMMIT_MASK);
    (committed as usize) < sub_buffer.len() / 4 * 3
}

pub(super) fn read(mut raw: &File, into: &mut [u8]) -> io::Result<bool> {
    loop {
        match raw.read(into) {
            Ok(0) => return Ok(false),
            Ok(taken) => {
                if let Some(rest) = into.get_mut(taken..) {
                    rest.fill(0);
                }
                return Ok(true);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}
