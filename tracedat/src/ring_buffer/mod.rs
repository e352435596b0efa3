//! The ring buffer's own encoding: one sub-buffer to timed entries.

mod entry;
mod header_page;
mod sub_buffer;

pub use entry::{Encoding, Entry, EntryCursor};
pub use header_page::HeaderPage;
pub use sub_buffer::{SubBuffer, SubBufferHeader};

/// Events lost just before a place in a CPU's stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedEvents {
    /// Nothing was lost.
    #[default]
    None,
    /// Something was lost; the kernel did not say how much.
    Unknown,
    /// So many events were lost.
    Exactly(u64),
}

/// One entry with data, with its CPU and time.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The event's bytes, common fields first.
    pub data: &'a [u8],
    /// What follows it in its sub-buffer, and what follows that where damage is taken as found. A field may claim bytes
    /// that its record does not have.
    pub behind: &'a [u8],
    /// Time in the ticks of the trace clock, as recorded.
    pub ticks: u64,
    /// Time after all corrections (guest shift, tick conversion, offsets): nanoseconds for clocks that have them.
    pub time: u64,
    /// The CPU it was recorded on.
    pub cpu: u32,
    /// Index of its buffer (instance) in [`crate::Metadata::buffers`].
    pub buffer: u32,
    /// What was lost on this CPU just before this record.
    pub missed: MissedEvents,
    /// Whether it is the first record of its sub-buffer.
    pub starts_sub_buffer: bool,
}
