//! What is made of a file that is damaged.

use thiserror::Error;

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
    /// A text cannot be read.
    #[error("{0}")]
    Text(Warning),
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
const MACHINE_PAGE: u64 = 4096;

/// Looks for damage for which release 3.1.6 reads nothing.
pub(super) fn check(metadata: &Metadata) -> Result<(), Unreadable> {
    if let Some(lost) = metadata.first_lost_text() {
        return Err(Unreadable::Text(lost.clone()));
    }
    let Some(buffer) = metadata.buffers.first() else { return Ok(()) };
    let cpus = || buffer.cpus.iter().filter(|data| data.size > 0);
    for &CpuData { cpu, offset, size } in cpus() {
        let (end, file_size) = (offset.wrapping_add(size), metadata.file_size);
        if end > file_size {
            return Err(Unreadable::Truncated { cpu, end, file_size });
        }
    }
    if buffer.compressed {
        return Ok(());
    }
    for &CpuData { cpu, offset, .. } in cpus() {
        if offset % MACHINE_PAGE != 0 {
            return Err(Unreadable::Misaligned { cpu, offset });
        }
        let mut head = [0; 64];
        let head = match metadata.texts.source.read_full_at(&mut head, offset) {
            Ok(filled) => head.get(..filled).unwrap_or_default(),
            // The reader tells what is wrong.
            Err(_) => continue,
        };
        let header_page = &metadata.header_page;
        let header = SubBufferHeader::parse(head, header_page, metadata.abi.byte_order);
        let claimed = header.map_or(0, |header| (header.end - header.start) as u64);
        if claimed > u64::from(buffer.page_size) {
            return Err(Unreadable::SubBuffer { cpu, offset, claimed });
        }
    }
    Ok(())
}
