//! A sub-buffer put together entry by entry.

use crate::abi::{Abi, ByteOrder};
use crate::ring_buffer::MissedEvents;

/// Puts one sub-buffer together.
///
/// ```
/// use tracedat::testing::SubBufferBuilder;
/// let page = SubBufferBuilder::little_endian_64().missed(17).event(0, b"payload!").build();
/// assert_eq!(page.len(), 4096);
/// ```
#[derive(Clone, Debug)]
pub struct SubBufferBuilder {
    abi: Abi,
    size: usize,
    timestamp: u64,
    missed: MissedEvents,
    data: Vec<u8>,
}

impl SubBufferBuilder {
    /// Little endian, `long` of 8 bytes.
    pub fn little_endian_64() -> Self {
        Self::new(Abi { byte_order: ByteOrder::Little, long_size: 8 })
    }

    /// Little endian, `long` of 4 bytes.
    pub fn little_endian_32() -> Self {
        Self::new(Abi { byte_order: ByteOrder::Little, long_size: 4 })
    }

    /// Big endian, `long` of 8 bytes.
    pub fn big_endian_64() -> Self {
        Self::new(Abi { byte_order: ByteOrder::Big, long_size: 8 })
    }

    /// Big endian, `long` of 4 bytes.
    pub fn big_endian_32() -> Self {
        Self::new(Abi { byte_order: ByteOrder::Big, long_size: 4 })
    }

    /// An empty sub-buffer of 4096 bytes.
    pub fn new(abi: Abi) -> Self {
        Self { abi, size: 4096, timestamp: 0, missed: MissedEvents::None, data: Vec::new() }
    }

    /// Sets the size, header included.
    #[must_use]
    pub fn size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// Sets the time stamp that the first delta is added to.
    #[must_use]
    pub fn timestamp(mut self, ticks: u64) -> Self {
        self.timestamp = ticks;
        self
    }

    /// So many events were lost before.
    #[must_use]
    pub fn missed(mut self, count: u64) -> Self {
        self.missed = MissedEvents::Exactly(count);
        self
    }

    /// An unknown number of events was lost before.
    #[must_use]
    pub fn missed_unknown(mut self) -> Self {
        self.missed = MissedEvents::Unknown;
        self
    }

    /// Adds an event. Its payload is filled up to a multiple of 4, and has the long form when it
    /// has more than 112 bytes.
    #[must_use]
    pub fn event(self, delta: u32, payload: &[u8]) -> Self {
        let words = payload.len().div_ceil(4);
        if (1..=28).contains(&words) {
            self.word(words as u32, delta).payload(payload)
        } else {
            self.long_event(delta, payload)
        }
    }

    /// Adds an event in the long form, whatever its size.
    #[must_use]
    pub fn long_event(self, delta: u32, payload: &[u8]) -> Self {
        let len = payload.len().next_multiple_of(4) as u32 + 4;
        self.word(0, delta).u32(len).payload(payload)
    }

    /// Adds `ticks` to the time; up to 59 bits.
    #[must_use]
    pub fn time_extend(self, ticks: u64) -> Self {
        self.word(30, (ticks & 0x07ff_ffff) as u32).u32((ticks >> 27) as u32)
    }

    /// Sets the time; the upper 5 bits stay as they are.
    #[must_use]
    pub fn absolute(self, ticks: u64) -> Self {
        self.word(31, (ticks & 0x07ff_ffff) as u32).u32((ticks >> 27) as u32)
    }

    /// Adds a discarded event of `len` bytes, which is a multiple of 4; its delta counts.
    #[must_use]
    pub fn discarded(self, delta: u32, len: u32) -> Self {
        self.word(29, delta.max(1)).u32(len + 4).payload(&vec![0x5a; len as usize])
    }

    /// Adds the padding that ends a sub-buffer.
    #[must_use]
    pub fn end(self) -> Self {
        self.word(29, 0)
    }

    /// Adds an entry's first word as it is.
    #[must_use]
    pub fn word(self, type_len: u32, delta: u32) -> Self {
        let word = match self.abi.byte_order {
            ByteOrder::Little => type_len & 31 | delta << 5,
            ByteOrder::Big => type_len << 27 | delta & 0x07ff_ffff,
        };
        self.u32(word)
    }

    /// Bytes of entries so far.
    pub fn committed(&self) -> usize {
        self.data.len()
    }

    /// Where entries start.
    pub fn header_len(&self) -> usize {
        8 + usize::from(self.abi.long_size)
    }

    /// Bytes of entries that still fit, with room for a number of missed events.
    pub fn room(&self) -> usize {
        let taken = self.header_len() + self.data.len() + usize::from(self.abi.long_size);
        self.size.saturating_sub(taken)
    }

    /// The sub-buffer, the rest of it zero. The number of missed events is left out where it does
    /// not fit, as the kernel does.
    pub fn build(&self) -> Vec<u8> {
        let mut commit = self.data.len() as u64;
        let end = self.header_len() + self.data.len();
        assert!(end <= self.size, "{end} bytes in a sub-buffer of {}", self.size);
        let mut missed = None;
        match self.missed {
            MissedEvents::None => {}
            MissedEvents::Unknown => commit |= 1 << 31,
            MissedEvents::Exactly(count) => {
                commit |= 1 << 31;
                if end + usize::from(self.abi.long_size) <= self.size {
                    commit |= 1 << 30;
                    missed = Some(count);
                }
            }
        }
        let mut page = Vec::with_capacity(self.size);
        page.extend_from_slice(&self.abi.byte_order.put_u64(self.timestamp));
        self.put_long(&mut page, commit);
        page.extend_from_slice(&self.data);
        if let Some(count) = missed {
            self.put_long(&mut page, count);
        }
        page.resize(self.size, 0);
        page
    }

    fn put_long(&self, page: &mut Vec<u8>, value: u64) {
        match self.abi.long_size {
            4 => page.extend_from_slice(&self.abi.byte_order.put_u32(value as u32)),
            _ => page.extend_from_slice(&self.abi.byte_order.put_u64(value)),
        }
    }

    fn u32(mut self, value: u32) -> Self {
        self.data.extend_from_slice(&self.abi.byte_order.put_u32(value));
        self
    }

    fn payload(mut self, payload: &[u8]) -> Self {
        self.data.extend_from_slice(payload);
        self.data.resize(self.data.len().next_multiple_of(4), 0);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_entries_are_as_the_kernel_writes_them() {
        let page = SubBufferBuilder::little_endian_64()
            .timestamp(0x0102)
            .missed(17)
            .event(3, b"abcd")
            .build();
        let expected = [2, 1, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0xc0, 0, 0, 0, 0, 0x61, 0, 0, 0];
        assert_eq!(page[..20], expected);
        assert_eq!(page[20..33], *b"abcd\x11\0\0\0\0\0\0\0\0");

        let page = SubBufferBuilder::big_endian_32().missed_unknown().event(3, b"abcde").build();
        let expected = [0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 12, 0x10, 0, 0, 3];
        assert_eq!(page[..16], expected);
        assert_eq!(page[16..24], *b"abcde\0\0\0");
    }
}
