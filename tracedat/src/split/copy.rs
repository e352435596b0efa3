//! The sub-buffers between two places of one CPU: whole ones as they are, those at the ends cut.

use std::io::{self, Read};

use super::scan::{Inside, Position};
use crate::abi::ByteOrder;
use crate::error::{DecodeError, ReadError};
use crate::metadata::Warning;
use crate::read::SubBuffers;
use crate::ring_buffer::{HeaderPage, MissedEvents, SubBufferHeader};

/// Bits of the commit field: events were lost, and how many stands after the data.
const MISSED: u64 = 1 << 31;
const MISSED_STORED: u64 = 1 << 30;

/// Goes over the sub-buffers of one CPU a second time, to copy them.
pub(super) struct Source {
    sub_buffers: SubBuffers,
    header_page: HeaderPage,
    byte_order: ByteOrder,
    page_size: usize,
    /// Sub-buffers so far, the current one included.
    count: u64,
}

impl Source {
    pub(super) fn new(
        sub_buffers: SubBuffers,
        header_page: HeaderPage,
        byte_order: ByteOrder,
        page_size: u32,
    ) -> Self {
        let page_size = page_size as usize;
        Self { sub_buffers, header_page, byte_order, page_size, count: 0 }
    }

    /// What lies between two places; pieces are taken in their order.
    pub(super) fn piece(&mut self, from: Position, to: Position) -> Piece<'_> {
        Piece { next: from.sub_buffer, source: self, from, to, page: Vec::new(), given: 0 }
    }

    /// What could not be read so far.
    pub(super) fn warnings(&self) -> &[Warning] {
        self.sub_buffers.warnings()
    }

    /// Brings a sub-buffer into `page`, filled up to its size.
    fn load(&mut self, number: u64, page: &mut Vec<u8>) -> io::Result<()> {
        while self.count <= number {
            let found = self.sub_buffers.advance().map_err(|error| match error {
                ReadError::Io { source, .. } => source,
                error => io::Error::other(error),
            })?;
            if !found {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.count += 1;
        }
        page.clear();
        page.extend_from_slice(self.sub_buffers.bytes());
        page.resize(self.page_size, 0);
        Ok(())
    }
}

/// The sub-buffers between two places, read as bytes.
pub(super) struct Piece<'a> {
    source: &'a mut Source,
    from: Position,
    to: Position,
    next: u64,
    page: Vec<u8>,
    given: usize,
}

impl Piece<'_> {
    /// Bytes that there are.
    pub(super) fn size(&self) -> u64 {
        let count = self.end().saturating_sub(self.from.sub_buffer);
        count.saturating_mul(self.source.page_size as u64)
    }

    /// Number of the first sub-buffer that is not taken.
    fn end(&self) -> u64 {
        self.to.sub_buffer.saturating_add(u64::from(self.to.inside.is_some()))
    }

    fn load(&mut self) -> io::Result<()> {
        self.source.load(self.next, &mut self.page)?;
        let from = self.from.inside.filter(|_| self.next == self.from.sub_buffer);
        let to = self.to.inside.filter(|_| self.next == self.to.sub_buffer);
        if from.is_some() || to.is_some() {
            let (header_page, byte_order) = (&self.source.header_page, self.source.byte_order);
            cut(&mut self.page, header_page, byte_order, from, to.map(|to| to.offset))
                .map_err(io::Error::other)?;
        }
        self.given = 0;
        self.next += 1;
        Ok(())
    }
}

impl Read for Piece<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.given == self.page.len() && self.next < self.end() {
            self.load()?;
        }
        let left = self.page.get(self.given..).unwrap_or_default();
        let len = left.len().min(out.len());
        for (to, from) in out.iter_mut().zip(left) {
            *to = *from;
        }
        self.given += len;
        Ok(len)
    }
}

/// Leaves of a sub-buffer the entries between two places. As the time stamp of the sub-buffer
/// becomes that of the record before, the entries stay as they are.
fn cut(
    page: &mut [u8],
    header_page: &HeaderPage,
    byte_order: ByteOrder,
    from: Option<Inside>,
    to: Option<usize>,
) -> Result<(), DecodeError> {
    let header = SubBufferHeader::parse(page, header_page, byte_order)?;
    let missed = match from {
        // What was lost before the first entry was not lost before a later one.
        Some(_) => MissedEvents::None,
        None => header.missed_events(page, header_page, byte_order),
    };
    let from = from.unwrap_or(Inside { offset: header.start, ticks: header.ticks });
    let end = to.unwrap_or(header.end).min(page.len());
    let start = from.offset.clamp(header.start, end.max(header.start));
    let truncated = || DecodeError::Truncated {
        offset: 0,
        need: u64::from(header_page.data_offset),
        left: page.len() as u64,
    };
    if end < header.start {
        return Err(truncated());
    }
    page.copy_within(start..end, header.start);
    let len = end - start;
    let (head, data) = page.split_at_mut(header.start);
    let rest = data.get_mut(len..).unwrap_or_default();
    rest.fill(0);
    let mut commit = len as u64;
    match missed {
        MissedEvents::None => {}
        MissedEvents::Unknown => commit |= MISSED,
        MissedEvents::Exactly(count) => {
            commit |= MISSED;
            if put_long(rest, header_page, byte_order, count) {
                commit |= MISSED_STORED;
            }
        }
    }
    if let Some((stamp, long)) = head.split_first_chunk_mut() {
        *stamp = byte_order.put_u64(from.ticks);
        put_long(long, header_page, byte_order, commit);
    }
    Ok(())
}

/// Puts a `long` of the traced kernel at the start of `bytes`, if there is room.
fn put_long(bytes: &mut [u8], header_page: &HeaderPage, byte_order: ByteOrder, value: u64) -> bool {
    if header_page.commit_size == 4 {
        let Some(place) = bytes.first_chunk_mut() else { return false };
        let Ok(value) = u32::try_from(value) else { return false };
        *place = byte_order.put_u32(value);
    } else {
        let Some(place) = bytes.first_chunk_mut() else { return false };
        *place = byte_order.put_u64(value);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring_buffer::SubBuffer;
    use crate::testing::SubBufferBuilder;

    fn entries(page: &[u8], header: &HeaderPage, order: ByteOrder) -> Vec<(u64, Vec<u8>)> {
        let found = SubBuffer::parse(page, header, order).unwrap();
        found.map(|entry| entry.map(|(ticks, data)| (ticks, data.to_vec())).unwrap()).collect()
    }

    /// Three events with an absolute stamp and a time extend in between.
    fn filled(builder: SubBufferBuilder) -> SubBufferBuilder {
        builder
            .timestamp(0x0900_0000_0000_0005)
            .missed(17)
            .event(3, b"one.")
            .time_extend(1 << 40)
            .event(1, b"two.")
            .absolute(0x0123_4567_89ab)
            .event(7, b"three...")
    }

    #[test]
    fn every_part_of_a_sub_buffer_keeps_its_times() {
        for (builder, long, order) in [
            (SubBufferBuilder::little_endian_64(), 8, ByteOrder::Little),
            (SubBufferBuilder::little_endian_32(), 4, ByteOrder::Little),
            (SubBufferBuilder::big_endian_64(), 8, ByteOrder::Big),
            (SubBufferBuilder::big_endian_32(), 4, ByteOrder::Big),
        ] {
            let header = HeaderPage::standard(long, 4096);
            let page = filled(builder).build();
            let all = entries(&page, &header, order);
            assert_eq!(all.len(), 3);
            let parsed = SubBufferHeader::parse(&page, &header, order).unwrap();
            let encoding = crate::ring_buffer::Encoding::new(order, &header);
            let mut cursor =
                crate::ring_buffer::EntryCursor::new(parsed.start, parsed.end, parsed.ticks);
            let mut places = vec![Inside { offset: parsed.start, ticks: parsed.ticks }];
            while cursor.next(&page, encoding).unwrap().is_some() {
                places.push(Inside { offset: cursor.position(), ticks: cursor.ticks() });
            }
            for from in 0..3 {
                for to in from + 1..=3 {
                    let mut part = page.clone();
                    let start = (from > 0).then(|| places[from]);
                    cut(&mut part, &header, order, start, Some(places[to].offset)).unwrap();
                    assert_eq!(entries(&part, &header, order), all[from..to], "{from} to {to}");
                    let missed = SubBuffer::parse(&part, &header, order).unwrap().missed_events();
                    let lost = MissedEvents::Exactly(17);
                    assert_eq!(missed, if from == 0 { lost } else { MissedEvents::None });
                }
            }
        }
    }
}
