//! A sub-buffer: its header, and its entries.

use super::{Encoding, EntryCursor, HeaderPage, MissedEvents};
use crate::abi::ByteOrder;
use crate::error::DecodeError;

/// Bits of the commit field that tell how many bytes of data there are.
const COMMITTED: u32 = (1 << 27) - 1;
/// The commit field's bit for "events were lost before this sub-buffer".
const MISSED: u32 = 1 << 31;
/// The commit field's bit for "how many were lost stands after the data".
const MISSED_STORED: u32 = 1 << 30;

/// What a sub-buffer's header tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubBufferHeader {
    /// Ticks that the first entry's delta is added to.
    pub ticks: u64,
    /// Where the entries start.
    pub start: usize,
    /// Where they end; may lie after the end of a damaged sub-buffer.
    pub end: usize,
    /// Whether events were lost before.
    missed: bool,
    /// Whether the number of lost events stands after the entries.
    missed_stored: bool,
}

impl SubBufferHeader {
    /// Decodes the header at the start of `bytes`.
    ///
    /// # Errors
    ///
    /// There are fewer bytes than a header has.
    #[inline]
    pub fn parse(
        bytes: &[u8],
        header_page: &HeaderPage,
        byte_order: ByteOrder,
    ) -> Result<Self, DecodeError> {
        let truncated = || DecodeError::Truncated {
            offset: 0,
            need: u64::from(header_page.data_offset),
            left: bytes.len() as u64,
        };
        let (stamp, rest) = bytes.split_first_chunk::<8>().ok_or_else(truncated)?;
        // The lower half of an eight-byte commit field is all that is used of it.
        let low = match (header_page.commit_size, byte_order) {
            (8, ByteOrder::Big) => rest.get(4..),
            _ => Some(rest),
        };
        let commit = low.and_then(|low| low.first_chunk()).ok_or_else(truncated)?;
        let commit = byte_order.u32(*commit);
        let start = header_page.data_offset as usize;
        let missed = header_page.has_overwrite && commit & MISSED != 0;
        Ok(Self {
            ticks: byte_order.u64(*stamp),
            start,
            end: start + (commit & COMMITTED) as usize,
            missed,
            missed_stored: missed && commit & MISSED_STORED != 0,
        })
    }

    /// Bytes of the sub-buffer that hold something.
    pub const fn used(&self, header_page: &HeaderPage) -> usize {
        if self.missed_stored { self.end + header_page.commit_size as usize } else { self.end }
    }

    /// What was lost before the first entry.
    pub fn missed_events(
        &self,
        bytes: &[u8],
        header_page: &HeaderPage,
        byte_order: ByteOrder,
    ) -> MissedEvents {
        if !self.missed {
            return MissedEvents::None;
        }
        let stored = bytes.get(self.end..self.used(header_page));
        match stored.and_then(|stored| byte_order.uint(stored)) {
            Some(count) => MissedEvents::Exactly(count),
            None => MissedEvents::Unknown,
        }
    }
}

/// A sub-buffer in memory, and a place in it.
#[derive(Clone, Debug)]
pub struct SubBuffer<'a> {
    bytes: &'a [u8],
    encoding: Encoding,
    missed: MissedEvents,
    cursor: EntryCursor,
}

impl<'a> SubBuffer<'a> {
    /// Decodes the header; the entries are decoded one by one. Data that the header claims but
    /// that is not there is left out.
    ///
    /// # Errors
    ///
    /// There are fewer bytes than a header has.
    pub fn parse(
        bytes: &'a [u8],
        header_page: &HeaderPage,
        byte_order: ByteOrder,
    ) -> Result<Self, DecodeError> {
        let header = SubBufferHeader::parse(bytes, header_page, byte_order)?;
        Ok(Self {
            bytes,
            encoding: Encoding::new(byte_order, header_page),
            missed: header.missed_events(bytes, header_page, byte_order),
            cursor: EntryCursor::new(header.start, header.end.min(bytes.len()), header.ticks),
        })
    }

    /// What was lost before the first entry.
    pub fn missed_events(&self) -> MissedEvents {
        self.missed
    }

    /// Ticks of the entry before the next, of the sub-buffer at its start.
    pub fn ticks(&self) -> u64 {
        self.cursor.ticks()
    }
}

/// Entries with data: ticks and the data's bytes. After an error there are no more.
impl<'a> Iterator for SubBuffer<'a> {
    type Item = Result<(u64, &'a [u8]), DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.cursor.next(self.bytes, self.encoding).transpose()?;
        Some(entry.map(|entry| (entry.ticks, self.bytes.get(entry.data).unwrap_or_default())))
    }
}
