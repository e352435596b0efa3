//! Numbers on datagrams.

use super::SequenceError;

/// What each datagram starts with when the extension `sequence` is taken up.
///
/// ```text
///  0       4        8         16              24
///  ├ magic ┼ stream ┼ number ─┼ bytes before ─┼ one sub-buffer
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequenceHeader {
    /// Which stream.
    pub stream: u32,
    /// How many datagrams of the stream were sent before.
    pub number: u64,
    /// How many bytes of the stream were sent before, headers not counted.
    pub bytes_before: u64,
}

impl SequenceHeader {
    /// Its bytes on the wire.
    pub const SIZE: usize = 24;

    /// Tells a stray datagram.
    const MAGIC: u32 = u32::from_be_bytes(*b"\x17SEQ");

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let (start, counts) = bytes.split_at_mut(8);
        let (magic, stream) = start.split_at_mut(4);
        let (number, before) = counts.split_at_mut(8);
        magic.copy_from_slice(&Self::MAGIC.to_be_bytes());
        stream.copy_from_slice(&self.stream.to_be_bytes());
        number.copy_from_slice(&self.number.to_be_bytes());
        before.copy_from_slice(&self.bytes_before.to_be_bytes());
        bytes
    }

    /// Splits a datagram into its header and the rest.
    ///
    /// # Errors
    ///
    /// [`SequenceError::Short`] or [`SequenceError::Magic`].
    pub fn split(datagram: &[u8]) -> Result<(Self, &[u8]), SequenceError> {
        let short = || SequenceError::Short { size: datagram.len() };
        let (magic, rest) = datagram.split_first_chunk().ok_or_else(short)?;
        let (stream, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let (number, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let (before, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let magic = u32::from_be_bytes(*magic);
        if magic != Self::MAGIC {
            return Err(SequenceError::Magic { magic });
        }
        let header = Self {
            stream: u32::from_be_bytes(*stream),
            number: u64::from_be_bytes(*number),
            bytes_before: u64::from_be_bytes(*before),
        };
        Ok((header, rest))
    }
}

/// Numbers the datagrams of one stream as they are sent.
#[derive(Debug, Clone)]
pub struct Numbering {
    next: SequenceHeader,
}

impl Numbering {
    /// A stream of which nothing was sent.
    #[must_use]
    pub fn new(stream: u32) -> Self {
        Self { next: SequenceHeader { stream, number: 0, bytes_before: 0 } }
    }

    /// The header of the next datagram, with `payload` bytes behind it. Call it once for each, sent or not: one that
    /// could not be sent is lost like one that was lost on the way.
    pub fn next_header(&mut self, payload: usize) -> [u8; SequenceHeader::SIZE] {
        let bytes = self.next.to_bytes();
        self.next.number += 1;
        self.next.bytes_before = self.next.bytes_before.saturating_add(payload as u64);
        bytes
    }

    /// Bytes so far, for [`Sender::data_end`](super::Sender::data_end).
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.next.bytes_before
    }
}
