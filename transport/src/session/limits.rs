//! What a recorder may ask for.

use super::SessionError;
use crate::message::{HEADER_SIZE, MAX_MESSAGE};

/// What a recorder may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Data streams, over all buffers. A single buffer has at most 1362, whose ports fit in one message.
    pub max_streams: u32,
    /// Buffers besides the top one.
    pub max_instances: u32,
    /// Bytes per sub-buffer.
    pub max_page_size: u32,
}

impl Default for Limits {
    /// 4096 streams, 64 further buffers, 16 MiB.
    fn default() -> Self {
        Self { max_streams: 4096, max_instances: 64, max_page_size: 16 << 20 }
    }
}

/// Streams of one buffer: `65535` and a NUL of each fit in an RINIT with a fixed part of 8 bytes.
pub(super) const MAX_BUFFER_STREAMS: u32 = ((MAX_MESSAGE - HEADER_SIZE - 8) / 6) as u32;

impl Limits {
    pub(super) fn check_cpus(&self, cpus: u32, room: u32) -> Result<(), SessionError> {
        let limit = room.min(self.max_streams).min(MAX_BUFFER_STREAMS);
        check("number of CPUs", cpus, limit)
    }

    pub(super) fn check_page_size(&self, page_size: u32) -> Result<(), SessionError> {
        check("page size", page_size, self.max_page_size)
    }
}

fn check(what: &'static str, value: u32, limit: u32) -> Result<(), SessionError> {
    if (1..=limit).contains(&value) {
        return Ok(());
    }
    Err(SessionError::Limit { what, value: u64::from(value), least: 1, limit: u64::from(limit) })
}
