//! A run of records on its way from the merger to a worker.

use std::sync::Arc;

use super::comms::LearnedComms;
use crate::ring_buffer::MissedEvents;

/// What is known about one record apart from its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    /// Corrected time.
    pub(crate) time: u64,
    /// Where its bytes start in the batch.
    pub(crate) start: u32,
    /// How many bytes it has.
    pub(crate) len: u32,
    /// How many bytes follow: of a record that belongs to it, or what lay behind it.
    pub(crate) attached: u32,
    /// The observer's note from the sequential stage.
    pub(crate) note: u32,
    /// Where it was recorded.
    pub(crate) cpu: u32,
    /// Its buffer in the file.
    pub(crate) buffer: u32,
    /// Its file.
    pub(crate) file: u32,
    /// Whether it is the first of its sub-buffer.
    pub(crate) starts_sub_buffer: bool,
    /// What was lost before it.
    pub(crate) missed: MissedEvents,
}

/// Records in printing order, their bytes copied; reused from one run to the next.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Place in the order of batches.
    pub(crate) sequence: u64,
    /// How many records came before this batch.
    pub(crate) first_record: u64,
    /// Time of the record before this batch.
    pub(crate) previous_time: Option<u64>,
    /// One per record.
    pub(crate) headers: Vec<Header>,
    /// The records' bytes, one after another.
    pub(crate) bytes: Vec<u8>,
    /// Wake-up latencies by place in `headers`.
    pub(crate) latencies: Vec<(u32, u64)>,
    /// Per file, the task names learned so far.
    pub(crate) comms: Vec<Arc<LearnedComms>>,
}

impl Batch {
    /// Forgets the records, keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.headers.clear();
        self.bytes.clear();
        self.comms.clear();
        self.latencies.clear();
    }

    /// The bytes of a record.
    #[inline]
    pub(crate) fn data(&self, header: &Header) -> &[u8] {
        let start = header.start as usize;
        self.bytes.get(start..start + header.len as usize).unwrap_or_default()
    }

    /// The bytes of a record and what lay behind it.
    pub(crate) fn data_and_behind(&self, header: &Header) -> &[u8] {
        let start = header.start as usize;
        let len = header.len as usize + header.attached as usize;
        self.bytes.get(start..start + len).unwrap_or_default()
    }

    /// The bytes of the record that belongs to it, if there is one.
    #[inline]
    pub(crate) fn attached(&self, header: &Header) -> Option<&[u8]> {
        if header.attached == 0 {
            return None;
        }
        let start = header.start as usize + header.len as usize;
        self.bytes.get(start..start + header.attached as usize)
    }
}
