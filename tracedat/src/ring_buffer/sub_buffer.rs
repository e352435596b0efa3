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
        if bytes.len() < header_page.data_offset as usize {
            return Err(truncated());
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring_buffer::MissedEvents;

    const PAGE_64: HeaderPage = HeaderPage::standard(8, 4096);
    const PAGE_32: HeaderPage = HeaderPage::standard(4, 4096);

    /// A little-endian sub-buffer of a 64-bit kernel at time 1000.
    fn little_64(commit: u64, words: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(1000_u64.to_le_bytes());
        bytes.extend(commit.to_le_bytes());
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        bytes
    }

    fn entries(bytes: &[u8], page: &HeaderPage, byte_order: ByteOrder) -> Vec<(u64, Vec<u8>)> {
        SubBuffer::parse(bytes, page, byte_order)
            .unwrap()
            .map(|entry| entry.map(|(ticks, data)| (ticks, data.to_vec())).unwrap())
            .collect()
    }

    /// Ticks and data of all entries, the broken ones as they claim to be.
    fn forced(words: &[u32], committed: usize) -> Vec<(u64, Vec<u8>)> {
        let bytes = little_64(0, words);
        let (encoding, end) = (Encoding::new(ByteOrder::Little, &PAGE_64), 16 + 4 * committed);
        let mut cursor = EntryCursor::new(16, end.min(bytes.len()), 1000);
        let mut found = Vec::new();
        loop {
            let entry = match cursor.next(&bytes, encoding) {
                Ok(None) => return found,
                Ok(entry) => entry,
                Err(_) => cursor.force(end, &bytes, encoding),
            };
            found.extend(entry.map(|entry| (entry.ticks, bytes[entry.data].to_vec())));
        }
    }

    #[test]
    fn broken_entries_are_taken_as_they_claim_to_be() {
        // Data goes on behind the committed bytes, and as far as there are bytes.
        assert_eq!(forced(&[2 | 5 << 5, 7, 8], 2), [(1005, [7, 0, 0, 0, 8, 0, 0, 0].to_vec())]);
        assert_eq!(forced(&[28, 7], 2), [(1000, vec![7, 0, 0, 0])]);
        // A length of 0 leads to the word that is the length, one below leads back, which ends it.
        assert_eq!(forced(&[0, 0, 1, 29], 4), [(1000, vec![]), (1000, vec![])]);
        assert_eq!(forced(&[0, 0xffff_fff0, 1, 9], 4), [(1000, vec![])]);
        // A time extend at the end counts, padding without end ends.
        assert_eq!(forced(&[1, 7, 30], 3), [(1000, vec![7, 0, 0, 0])]);
        assert_eq!(forced(&[29 | 1 << 5, 400, 1, 9], 4), []);
    }

    fn little(words: &[u32]) -> Vec<(u64, Vec<u8>)> {
        entries(&little_64(4 * words.len() as u64, words), &PAGE_64, ByteOrder::Little)
    }

    #[test]
    fn data_entries_have_their_length_in_words() {
        // Type 1 with delta 0, type 2 with delta 5.
        let found = little(&[0x0000_0001, 0x4433_2211, 0x0000_00a2, 1, 2]);
        assert_eq!(
            found,
            [(1000, vec![0x11, 0x22, 0x33, 0x44]), (1005, vec![1, 0, 0, 0, 2, 0, 0, 0])]
        );
    }

    #[test]
    fn large_data_has_its_length_in_the_next_word() {
        // Delta 3; the length counts itself.
        let found = little(&[3 << 5, 12, 7, 8, 0x0000_0021, 9]);
        assert_eq!(found, [(1003, vec![7, 0, 0, 0, 8, 0, 0, 0]), (1004, vec![9, 0, 0, 0])]);
    }

    #[test]
    fn discarded_entries_count_their_delta() {
        // Padding of delta 10 over 8 bytes, the length included, then data of delta 1.
        let found = little(&[10 << 5 | 29, 8, 0xffff_ffff, 1 << 5 | 1, 5]);
        assert_eq!(found, [(1011, vec![5, 0, 0, 0])]);
    }

    #[test]
    fn padding_without_delta_ends_the_sub_buffer() {
        assert_eq!(little(&[1, 5, 29, 1, 6]), [(1000, vec![5, 0, 0, 0])]);
    }

    #[test]
    fn time_extend_adds_and_time_stamp_sets() {
        // Extend: 2 << 27 and 1. Stamp: 1 << 27 and 3.
        let found = little(&[1 << 5 | 30, 2, 1, 5, 3 << 5 | 31, 1, 2 << 5 | 1, 6]);
        assert_eq!(
            found,
            [(1000 + (2 << 27) + 1, vec![5, 0, 0, 0]), ((1 << 27) + 3 + 2, vec![6, 0, 0, 0])]
        );
    }

    #[test]
    fn time_stamp_keeps_the_five_bits_that_it_does_not_have() {
        let mut bytes = little_64(16, &[3 << 5 | 31, 1, 1, 6]);
        bytes[..8].copy_from_slice(&0xf000_0000_0000_0009_u64.to_le_bytes());
        let found = entries(&bytes, &PAGE_64, ByteOrder::Little);
        assert_eq!(found[0].0, 0xf000_0000_0000_0000 | ((1 << 27) + 3));
    }

    #[test]
    fn big_endian_has_the_type_in_the_upper_bits() {
        let bytes = [
            [0, 0, 0, 0],
            [0, 0, 3, 0xe8],
            [0, 0, 0, 16],
            // Time extend of 1 and delta 2, then four bytes of data with delta 4.
            [0xf0, 0, 0, 2],
            [0, 0, 0, 1],
            [0x08, 0, 0, 4],
            *b"abcd",
        ];
        let found = entries(bytes.as_flattened(), &PAGE_32, ByteOrder::Big);
        assert_eq!(found, [(1000 + (1 << 27) + 2 + 4, b"abcd".to_vec())]);
        let long_8 = [
            [0, 0, 0, 0],
            [0, 0, 3, 0xe8],
            [0, 0, 0, 0],
            [0xc0, 0, 0, 8],
            [0x08, 0, 0, 4],
            *b"abcd",
            [0, 0, 0, 0],
            [0, 0, 0, 17],
        ];
        let found = SubBuffer::parse(long_8.as_flattened(), &PAGE_64, ByteOrder::Big).unwrap();
        assert_eq!(found.missed_events(), MissedEvents::Exactly(17));
        assert_eq!(found.count(), 1);
    }

    #[test]
    fn missed_events_are_counted_when_the_count_is_there() {
        let missed = |commit, words: &[u32], page| {
            let bytes = little_64(commit, words);
            SubBuffer::parse(&bytes, page, ByteOrder::Little).unwrap().missed_events()
        };
        assert_eq!(missed(8, &[1, 5, 17, 0], &PAGE_64), MissedEvents::None);
        assert_eq!(missed(0x8000_0008, &[1, 5, 17, 0], &PAGE_64), MissedEvents::Unknown);
        assert_eq!(missed(0xc000_0008, &[1, 5, 17, 0], &PAGE_64), MissedEvents::Exactly(17));
        assert_eq!(missed(0xc000_0008, &[1, 5, 17], &PAGE_64), MissedEvents::Unknown);
        let old = HeaderPage { has_overwrite: false, ..PAGE_64 };
        assert_eq!(missed(0xc000_0008, &[1, 5, 17, 0], &old), MissedEvents::None);
    }

    #[test]
    fn old_entries_have_two_bits_of_type_and_three_of_length() {
        let old = HeaderPage { old_entries: true, ..PAGE_64 };
        // Data of one word, delta 2; time extend of 1 and 3; time stamp; data with its length
        // after it; padding to the end.
        let words = [2 << 5 | 1 << 2 | 3, 5, 3 << 5 | 1, 1, 2, 0, 0, 0, 3, 8, 6, 0, 3, 99];
        let found = entries(&little_64(56, &words), &old, ByteOrder::Little);
        assert_eq!(found, [(1002, vec![5, 0, 0, 0]), (1002 + (1 << 27) + 3, vec![6, 0, 0, 0])]);
    }

    #[test]
    fn lengths_that_do_not_fit_end_the_sub_buffer_with_an_error() {
        for (words, offset) in [
            (&[1, 5, 3, 1][..], 24),
            (&[1, 5, 0, 3], 24),
            (&[1, 5, 0, u32::MAX], 24),
            (&[1, 5, 1 << 5 | 29, u32::MAX], 24),
        ] {
            let bytes = little_64(4 * words.len() as u64, words);
            let mut found = SubBuffer::parse(&bytes, &PAGE_64, ByteOrder::Little).unwrap();
            assert!(found.next().unwrap().is_ok());
            let error = found.next().unwrap().unwrap_err();
            assert!(
                matches!(error, DecodeError::OutOfRange { offset: at, .. } if at == offset),
                "{error}"
            );
            assert!(found.next().is_none());
        }
        let bytes = little_64(12, &[1, 5, 30]);
        let mut found = SubBuffer::parse(&bytes, &PAGE_64, ByteOrder::Little).unwrap();
        found.next();
        assert!(found.next().unwrap().is_err() && found.next().is_none());
    }

    #[test]
    fn headers_that_are_cut_off_are_errors() {
        for len in 0..16 {
            SubBuffer::parse(&vec![0; len], &PAGE_64, ByteOrder::Little).unwrap_err();
        }
    }
}
