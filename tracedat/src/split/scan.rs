//! Where the records of one CPU are: one after the other, with a place to cut before each.

use crate::abi::ByteOrder;
use crate::clock::ClockCorrection;
use crate::error::ReadError;
use crate::metadata::Metadata;
use crate::read::SubBuffers;
use crate::ring_buffer::{Encoding, EntryCursor, HeaderPage, SubBufferHeader};

/// A place between two records of a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Number of the sub-buffer of the record behind it, counted from where it began. Where that is the first
    /// one there, sub-buffers without records before it count as part of it.
    pub(super) sub_buffer: u64,
    /// Where in that sub-buffer; `None` when no record is before it.
    pub(super) inside: Option<Inside>,
}

/// A place inside of a sub-buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inside {
    /// Offset of the next entry.
    pub(super) offset: usize,
    /// Ticks of the record before.
    pub(super) ticks: u64,
}

/// The record that comes next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Next {
    /// Its corrected time.
    pub(super) time: u64,
    /// The place before it.
    pub(super) position: Position,
}

/// Goes over the records of one CPU.
pub(super) struct Scan {
    sub_buffers: SubBuffers,
    correction: ClockCorrection,
    header_page: HeaderPage,
    encoding: Encoding,
    byte_order: ByteOrder,
    cursor: EntryCursor,
    /// Sub-buffers so far, the current one included.
    count: u64,
    /// The first sub-buffer after the last one with a record.
    unclaimed: u64,
    next: Option<Next>,
}

impl Scan {
    /// Before the first record.
    pub(super) fn new(
        sub_buffers: SubBuffers,
        metadata: &Metadata,
        correction: ClockCorrection,
    ) -> Result<Self, ReadError> {
        let order = metadata.abi.byte_order;
        let mut scan = Self {
            sub_buffers,
            correction,
            header_page: metadata.header_page,
            encoding: Encoding::new(order, &metadata.header_page),
            byte_order: order,
            cursor: EntryCursor::END,
            count: 0,
            unclaimed: 0,
            next: None,
        };
        scan.advance()?;
        Ok(scan)
    }

    /// The record that comes next, `None` after the last.
    pub(super) fn next(&self) -> Option<Next> {
        self.next
    }

    /// The place before the record that comes next, or behind the last sub-buffer.
    pub(super) fn position(&self) -> Position {
        let end = Position { sub_buffer: self.count, inside: None };
        self.next.map_or(end, |next| next.position)
    }

    /// Passes over the record that comes next.
    pub(super) fn advance(&mut self) -> Result<(), ReadError> {
        loop {
            let inside = Inside { offset: self.cursor.position(), ticks: self.cursor.ticks() };
            // What does not decode ends its sub-buffer here as it does for readers.
            if let Ok(Some(entry)) = self.cursor.next(self.sub_buffers.bytes(), self.encoding) {
                let is_first = self.unclaimed < self.count;
                let position = if is_first {
                    Position { sub_buffer: self.unclaimed, inside: None }
                } else {
                    let sub_buffer = self.count.saturating_sub(1);
                    Position { sub_buffer, inside: Some(inside) }
                };
                self.unclaimed = self.count;
                let time = self.correction.apply(entry.ticks);
                self.next = Some(Next { time, position });
                return Ok(());
            }
            if !self.sub_buffers.advance()? {
                self.cursor = EntryCursor::END;
                self.next = None;
                return Ok(());
            }
            self.count += 1;
            let bytes = self.sub_buffers.bytes();
            let header = SubBufferHeader::parse(bytes, &self.header_page, self.byte_order);
            self.cursor = header.map_or(EntryCursor::END, |header| {
                EntryCursor::new(header.start, header.end.min(bytes.len()), header.ticks)
            });
        }
    }
}
