//! What is made of a file that is damaged.

use thiserror::Error;

use super::sub_buffers::SubBuffers;
use crate::metadata::{CpuData, Metadata, Warning};
use crate::ring_buffer::SubBufferHeader;

/// What is made of what does not decode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Damage {
    /// What is damaged is left out with a warning, and all around it is read: nothing else is lost.
    #[default]
    LeaveOut,
    /// As release 3.1.6 does: an entry is a record whatever its length claims, and a CPU or a list ends
    /// where something is wrong. There are warnings here too.
    AsFound,
}

/// Damage for which release 3.1.6 reads nothing of a file.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unreadable {
    /// A text or an option that is needed cannot be read.
    #[error("{0}")]
    Metadata(Warning),
    /// The first chunk of a CPU cannot be read.
    #[error("{0}")]
    Chunk(Warning),
    /// The file ends before the data of a CPU does.
    #[error("the data of CPU {cpu} ends at {end:#x}, the file of {file_size} bytes before")]
    Truncated {
        /// The CPU.
        cpu: u32,
        /// Where its data ends.
        end: u64,
        /// Size of the file, in bytes.
        file_size: u64,
    },
    /// The data of a CPU does not start with a page of the file.
    #[error("the data of CPU {cpu} starts at {offset:#x}, not with a page")]
    Misaligned {
        /// The CPU.
        cpu: u32,
        /// Where its data starts.
        offset: u64,
    },
    /// The first sub-buffer of a CPU claims more data than fits into one.
    #[error("the first sub-buffer of CPU {cpu} at {offset:#x} claims {claimed} bytes")]
    SubBuffer {
        /// The CPU.
        cpu: u32,
        /// Where its data starts.
        offset: u64,
        /// Bytes that the sub-buffer claims.
        claimed: u64,
    },
}

/// What 3.1.6 maps starts at a multiple of this, whatever the size of sub-buffers.
pub(super) const MACHINE_PAGE: u64 = 4096;

/// Looks for damage for which release 3.1.6 reads nothing.
pub(super) fn check(metadata: &Metadata) -> Result<(), Unreadable> {
    if let Some(lost) = metadata.first_lost() {
        return Err(Unreadable::Metadata(lost.clone()));
    }
    let Some(buffer) = metadata.buffers.first() else { return Ok(()) };
    let cpus = || buffer.cpus.iter().filter(|data| data.size > 0);
    for &CpuData { cpu, offset, size } in cpus() {
        let (end, file_size) = (offset.wrapping_add(size), metadata.file_size);
        if end > file_size {
            return Err(Unreadable::Truncated { cpu, end, file_size });
        }
    }
    for data @ &CpuData { cpu, offset, .. } in cpus() {
        if !buffer.compressed && !offset.is_multiple_of(MACHINE_PAGE) {
            return Err(Unreadable::Misaligned { cpu, offset });
        }
        let Some(mut first) = SubBuffers::new(&metadata.texts.source, metadata, 0, data) else {
            continue;
        };
        // What fails here fails again, and is told, when the records are read.
        let read = first.advance();
        if let Some(warning) = first.warnings().first() {
            return Err(Unreadable::Chunk(warning.clone()));
        }
        if !read.unwrap_or(false) {
            continue;
        }
        let header_page = &metadata.header_page;
        let header = SubBufferHeader::parse(first.bytes(), header_page, metadata.abi.byte_order);
        let claimed = header.map_or(0, |header| (header.end - header.start) as u64);
        if claimed > u64::from(buffer.page_size) {
            return Err(Unreadable::SubBuffer { cpu, offset, claimed });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reader;
    use crate::compress::Codec;
    use crate::testing::{TraceBuilder, Workload};

    fn file() -> Vec<u8> {
        let mut workload = Workload::new(1);
        workload.cpus = 2;
        workload.events_per_cpu = 200;
        TraceBuilder::new(workload).version(6).codec(Codec::None).build()
    }

    /// Where the table has the last CPU's offset.
    fn last_entry(file: &[u8]) -> usize {
        file.windows(10).position(|bytes| bytes == b"flyrecord\0").unwrap() + 10 + 16
    }

    #[test]
    fn truncated_file_is_refused_whole_but_read_in_part() {
        let mut file = file();
        let end = file.len() as u64;
        file.truncate(file.len() - 100);
        let mut reader = Reader::parse(file).unwrap();
        let file_size = end - 100;
        let found = reader.check_as_3_1_6();
        assert_eq!(found, Err(Unreadable::Truncated { cpu: 1, end, file_size }));
        assert!(reader.records.next().unwrap().is_some());
    }

    #[test]
    fn start_and_size_of_the_first_sub_buffer_count() {
        let whole = file();
        assert_eq!(Reader::parse(whole.clone()).unwrap().check_as_3_1_6(), Ok(()));
        let at = last_entry(&whole);
        let offset = u64::from_le_bytes(whole[at..at + 8].try_into().unwrap());

        let mut moved = whole.clone();
        moved[at] = 8;
        moved[at + 8..at + 16].copy_from_slice(&4_u64.to_le_bytes());
        let found = Reader::parse(moved).unwrap().check_as_3_1_6();
        assert_eq!(found, Err(Unreadable::Misaligned { cpu: 1, offset: offset + 8 }));

        let mut large = whole;
        large[offset as usize + 8..][..4].copy_from_slice(&4097_u32.to_le_bytes());
        let found = Reader::parse(large).unwrap().check_as_3_1_6();
        assert_eq!(found, Err(Unreadable::SubBuffer { cpu: 1, offset, claimed: 4097 }));
    }
}
