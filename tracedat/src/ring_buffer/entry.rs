//! The entries of a sub-buffer, one after the other.

use std::ops::Range;

use super::HeaderPage;
use crate::abi::ByteOrder;
use crate::error::DecodeError;

/// Kinds of `type_len`: padding, time extend, time stamp; less is data.
const PADDING: u32 = 29;
const TIME_EXTEND: u32 = 30;
const TIME_STAMP: u32 = 31;

/// Kinds of entries before Linux 2.6.31.
const OLD_PADDING: u32 = 0;
const OLD_TIME_EXTEND: u32 = 1;
const OLD_TIME_STAMP: u32 = 2;

/// Bits of a delta in an entry's word.
const DELTA_BITS: u32 = 27;
const DELTA_MASK: u32 = (1 << DELTA_BITS) - 1;

/// Bits that an absolute time stamp does not have: they stay as they were.
const STAMP_TOP: u64 = 0xf8 << 56;

/// How entries are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    byte_order: ByteOrder,
    old: bool,
}

impl Encoding {
    /// The encoding of a trace.
    pub const fn new(byte_order: ByteOrder, header_page: &HeaderPage) -> Self {
        Self { byte_order, old: header_page.old_entries }
    }
}

/// An entry with data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its time, in ticks of the trace clock.
    pub ticks: u64,
    /// Where its data is in the sub-buffer.
    pub data: Range<usize>,
}

/// A place between two entries of a sub-buffer. It borrows nothing, so that who holds the
/// sub-buffer can hold it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryCursor {
    position: usize,
    end: usize,
    ticks: u64,
}

impl EntryCursor {
    /// A place at which there are no more entries.
    pub const END: Self = Self { position: 0, end: 0, ticks: 0 };

    /// Before the entries in the bytes from `start` to `end` of a sub-buffer, at its time stamp.
    pub const fn new(start: usize, end: usize, ticks: u64) -> Self {
        Self { position: start, end, ticks }
    }

    /// Offset of the next entry in the sub-buffer.
    pub const fn position(&self) -> usize {
        self.position
    }

    /// Ticks of the entry before, or of the sub-buffer.
    pub const fn ticks(&self) -> u64 {
        self.ticks
    }

    /// The next entry with data; `None` after the last. Times are added up on the way.
    ///
    /// # Errors
    ///
    /// An entry's length does not fit. There are no more entries then, and the cursor stays before it.
    #[inline]
    pub fn next(&mut self, bytes: &[u8], encoding: Encoding) -> Result<Option<Entry>, DecodeError> {
        match self.next_usual(bytes, encoding) {
            Some(entry) => Ok(Some(entry)),
            None => self.next_any(bytes, encoding),
        }
    }

    /// The next entry, if it is of the kind that nearly all are: little-endian, with its length in
    /// words.
    #[inline(always)]
    fn next_usual(&mut self, bytes: &[u8], encoding: Encoding) -> Option<Entry> {
        let start = self.position.wrapping_add(4);
        let word = bytes.get(self.position..start)?.first_chunk().copied();
        let word = u32::from_le_bytes(word?);
        let kind = word & 31;
        let end = start + 4 * kind as usize;
        let is_usual = encoding.byte_order == ByteOrder::Little && !encoding.old;
        if !is_usual || !matches!(kind, 1..PADDING) || end > self.end {
            return None;
        }
        self.ticks = self.ticks.wrapping_add(u64::from(word >> 5));
        self.position = end;
        Some(Entry { ticks: self.ticks, data: start..end })
    }

    fn next_any(&mut self, bytes: &[u8], encoding: Encoding) -> Result<Option<Entry>, DecodeError> {
        if encoding.old {
            return self.next_old(bytes, encoding.byte_order);
        }
        while self.position < self.end {
            let at = self.position;
            let word = self.word(bytes, at, encoding.byte_order)?;
            let (kind, delta) = match encoding.byte_order {
                ByteOrder::Little => (word & 31, word >> 5),
                ByteOrder::Big => (word >> DELTA_BITS, word & DELTA_MASK),
            };
            let delta = u64::from(delta);
            match kind {
                1..PADDING => {
                    self.ticks = self.ticks.wrapping_add(delta);
                    return self.data(at, at + 4, u64::from(kind) * 4);
                }
                0 => {
                    self.ticks = self.ticks.wrapping_add(delta);
                    return self.large_data(bytes, at, encoding.byte_order);
                }
                PADDING => {
                    if delta == 0 {
                        self.position = self.end;
                        break;
                    }
                    self.ticks = self.ticks.wrapping_add(delta);
                    let len = self.word(bytes, at + 4, encoding.byte_order)?;
                    self.data(at, at + 4, u64::from(len))?;
                }
                TIME_EXTEND => {
                    let high = self.word(bytes, at + 4, encoding.byte_order)?;
                    let delta = (u64::from(high) << DELTA_BITS) + delta;
                    self.ticks = self.ticks.wrapping_add(delta);
                    self.position = at + 8;
                }
                TIME_STAMP.. => {
                    let high = self.word(bytes, at + 4, encoding.byte_order)?;
                    let stamp = (u64::from(high) << DELTA_BITS) + delta;
                    self.ticks = stamp | (self.ticks & STAMP_TOP);
                    self.position = at + 8;
                }
            }
        }
        Ok(None)
    }

    /// The same for two bits of type and three of length in words.
    fn next_old(
        &mut self,
        bytes: &[u8],
        byte_order: ByteOrder,
    ) -> Result<Option<Entry>, DecodeError> {
        while self.position < self.end {
            let at = self.position;
            let word = self.word(bytes, at, byte_order)?;
            let (kind, words, delta) = match byte_order {
                ByteOrder::Little => (word & 3, word >> 2 & 7, word >> 5),
                ByteOrder::Big => (word >> 30, word >> DELTA_BITS & 7, word & DELTA_MASK),
            };
            let delta = u64::from(delta);
            match kind {
                OLD_PADDING => {
                    self.position = self.end;
                    break;
                }
                OLD_TIME_EXTEND => {
                    let high = self.word(bytes, at + 4, byte_order)?;
                    let delta = (u64::from(high) << DELTA_BITS) + delta;
                    self.ticks = self.ticks.wrapping_add(delta);
                    self.position = at + 8;
                }
                // Seconds and nanoseconds of another clock: no kernel wrote them.
                OLD_TIME_STAMP => self.position = at + 16,
                _ => {
                    self.ticks = self.ticks.wrapping_add(delta);
                    if words == 0 {
                        return self.large_data(bytes, at, byte_order);
                    }
                    return self.data(at, at + 4, u64::from(words) * 4);
                }
            }
        }
        Ok(None)
    }

    /// The entry at which [`EntryCursor::next`] failed, taken for what its word says: data goes on behind
    /// `end`, where the entries were to end, as far as there are bytes. `None` when it has no data;
    /// the cursor is behind it in any case, or at the end when it leads back.
    ///
    /// An entry of a negative length has empty data at the end of `bytes`.
    #[cold]
    pub fn force(&mut self, end: usize, bytes: &[u8], encoding: Encoding) -> Option<Entry> {
        if encoding.old {
            return None;
        }
        let at = self.position;
        let word = |at: usize| {
            let word = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
            word.map_or(0, |word| encoding.byte_order.u32(*word))
        };
        let first = word(at);
        let (kind, delta) = match encoding.byte_order {
            ByteOrder::Little => (first & 31, first >> 5),
            ByteOrder::Big => (first >> DELTA_BITS, first & DELTA_MASK),
        };
        let wide = || (u64::from(word(at + 4)) << DELTA_BITS) + u64::from(delta);
        // Ticks of data and padding were added before the length was looked at.
        let (start, len, is_data) = match kind {
            0 => (at + 8, word(at + 4).wrapping_sub(4).wrapping_add(3) & !3, true),
            1..PADDING => (at + 4, kind * 4, true),
            PADDING => (at + 4, word(at + 4), false),
            TIME_EXTEND => {
                self.ticks = self.ticks.wrapping_add(wide());
                (at + 8, 0, false)
            }
            TIME_STAMP.. => {
                self.ticks = wide() | (self.ticks & STAMP_TOP);
                (at + 8, 0, false)
            }
        };
        let len = len as i32;
        let next = start.checked_add_signed(len as isize).filter(|&next| next > at);
        self.end = end.min(bytes.len());
        self.position = next.map_or(self.end, |next| next.min(self.end));
        let data = match usize::try_from(len) {
            Ok(len) => start.min(bytes.len())..start.saturating_add(len).min(bytes.len()),
            Err(_) => bytes.len()..bytes.len(),
        };
        is_data.then_some(Entry { ticks: self.ticks, data })
    }

    /// Data whose length stands in the word after the entry's, which it counts too.
    #[inline]
    fn large_data(
        &mut self,
        bytes: &[u8],
        at: usize,
        byte_order: ByteOrder,
    ) -> Result<Option<Entry>, DecodeError> {
        let len = self.word(bytes, at + 4, byte_order)?;
        match len.checked_sub(4) {
            Some(len) => self.data(at, at + 8, u64::from(len).next_multiple_of(4)),
            None => Err(self.broken(at, u64::from(len))),
        }
    }

    /// Moves past an entry at `at` with `len` bytes of data from `start`.
    #[inline]
    fn data(&mut self, at: usize, start: usize, len: u64) -> Result<Option<Entry>, DecodeError> {
        let left = self.end.saturating_sub(start);
        if len > left as u64 {
            return Err(self.broken(at, len));
        }
        // Not more than `left`, so it fits.
        let end = start + len as usize;
        self.position = end;
        Ok(Some(Entry { ticks: self.ticks, data: start..end }))
    }

    #[inline]
    fn word(&mut self, bytes: &[u8], at: usize, byte_order: ByteOrder) -> Result<u32, DecodeError> {
        let word = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
        match word {
            Some(word) if at + 4 <= self.end => Ok(byte_order.u32(*word)),
            _ => Err(self.truncated(at)),
        }
    }

    #[cold]
    fn truncated(&mut self, at: usize) -> DecodeError {
        let left = self.end.saturating_sub(at) as u64;
        self.end = self.position;
        DecodeError::Truncated { offset: at as u64, need: 4, left }
    }

    #[cold]
    fn broken(&mut self, at: usize, len: u64) -> DecodeError {
        self.end = self.position;
        DecodeError::OutOfRange { offset: at as u64, what: "length of an entry", value: len }
    }
}
