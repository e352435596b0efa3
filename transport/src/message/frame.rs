//! Bytes to frames: the header checked, the content not yet looked at.

use super::Command;
use crate::MessageError;

/// Bytes of the header.
pub const HEADER_SIZE: usize = 12;
/// The largest message, header included.
pub const MAX_MESSAGE: usize = 8192;
/// The most data a message without fixed part can carry.
pub const MAX_DATA: usize = MAX_MESSAGE - HEADER_SIZE;

/// One message whose header is consistent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is about.
    pub command: Command,
    /// The fixed part, as long as the sender made it.
    pub fixed: &'a [u8],
    /// The rest.
    pub data: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The whole message, to pass it on unchanged.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Splits a complete message; `offset` is where it starts in its stream, for errors.
    ///
    /// # Errors
    ///
    /// The header's sizes contradict each other or the bytes given.
    pub fn parse(bytes: &'a [u8], offset: u64) -> Result<Self, MessageError> {
        let word = |at: usize| {
            bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes)
        };
        let (Some(size), Some(command), Some(command_size)) = (word(0), word(4), word(8)) else {
            return Err(MessageError::Truncated {
                what: "header",
                need: 12,
                offset: 0,
                left: bytes.len(),
            });
        };
        if size as usize != bytes.len() || size as usize > MAX_MESSAGE {
            return Err(MessageError::Size { size, offset });
        }
        let rest = bytes.get(HEADER_SIZE..).unwrap_or_default();
        let Some((fixed, data)) = rest.split_at_checked(command_size as usize) else {
            return Err(MessageError::CommandSize { command_size, size, offset });
        };
        Ok(Self { command: Command(command), fixed, data, bytes })
    }
}

/// Gathers bytes as they come and gives out complete frames. Never holds more than two messages.
#[derive(Debug)]
pub struct Decoder {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Position in the stream of `buffer[start]`.
    offset: u64,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// An empty decoder.
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: vec![0; 2 * MAX_MESSAGE].into_boxed_slice(), start: 0, end: 0, offset: 0 }
    }

    /// Room for more bytes; say with [`filled`](Self::filled) how many were put there. It is empty only when a
    /// complete frame waits to be taken.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// Takes note of `count` bytes put into [`space`](Self::space).
    pub fn filled(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.buffer.len());
    }

    /// Copies as many bytes in as there is room for; returns how many.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let space = self.space();
        let count = bytes.len().min(space.len());
        for (to, from) in space.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.filled(count);
        count
    }

    /// The next complete frame, if it is there. After an error the stream has no frame borders any more:
    /// [`resync`](Self::resync) or give up.
    ///
    /// # Errors
    ///
    /// [`MessageError::Size`] as soon as the header is there, so that nothing waits for bytes that are only claimed.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, MessageError> {
        let Some(whole) = self.peek_size()? else {
            return Ok(None);
        };
        let (start, offset) = (self.start, self.offset);
        self.start += whole;
        self.offset += whole as u64;
        Frame::parse(self.buffer.get(start..start + whole).unwrap_or_default(), offset).map(Some)
    }

    /// The size of the frame at the front when it is complete.
    ///
    /// # Errors
    ///
    /// As [`next_frame`](Self::next_frame).
    pub fn peek_size(&self) -> Result<Option<usize>, MessageError> {
        let waiting = self.buffer.get(self.start..self.end).unwrap_or_default();
        let Some(size) = waiting.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes)) else {
            return Ok(None);
        };
        let whole = size as usize;
        if !(HEADER_SIZE..=MAX_MESSAGE).contains(&whole) {
            return Err(MessageError::Size { size, offset: self.offset });
        }
        Ok((waiting.len() >= whole).then_some(whole))
    }

    /// All bytes that wait, whether they are frames or not.
    pub(crate) fn waiting(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Where in the stream the waiting bytes start.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes up to `count` of the waiting bytes, which are no frame.
    pub(crate) fn take(&mut self, count: usize) -> &[u8] {
        let start = self.start;
        self.start = self.start.saturating_add(count).min(self.end);
        self.offset += (self.start - start) as u64;
        self.buffer.get(start..self.start).unwrap_or_default()
    }

    /// The frame at the front, if it is complete, which stays there.
    pub(crate) fn peek_frame(&self) -> Result<Option<Frame<'_>>, MessageError> {
        let Some(whole) = self.peek_size()? else {
            return Ok(None);
        };
        let bytes = self.waiting().get(..whole).unwrap_or_default();
        Frame::parse(bytes, self.offset).map(Some)
    }

    /// Whether bytes of a frame wait here.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.end > self.start
    }

    /// Forgets everything that was gathered.
    pub fn clear(&mut self) {
        self.offset += (self.end - self.start) as u64;
        self.start = 0;
        self.end = 0;
    }

    /// Skips to the next introduction (see [`Hello`](super::Hello)), by its magic bytes, wherever frames begin. At least one byte
    /// is skipped when a frame is already begun here and `past_current` is set. True when one may start at the front.
    pub fn resync(&mut self, past_current: bool) -> bool {
        let waiting = self.buffer.get(self.start..self.end).unwrap_or_default();
        let from = usize::from(past_current && !waiting.is_empty());
        let found = (from..waiting.len())
            .find(|&at| waiting.get(at..).is_some_and(super::hello::may_start));
        let skip = found.unwrap_or(waiting.len());
        self.start += skip;
        self.offset += skip as u64;
        found.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSE: [u8; 12] = [0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn a_frame_comes_out_when_its_last_byte_is_in() {
        let mut decoder = Decoder::new();
        for byte in &CLOSE[..11] {
            assert_eq!(decoder.push(&[*byte]), 1);
            assert_eq!(decoder.next_frame(), Ok(None));
        }
        assert!(decoder.is_partial());
        decoder.push(&CLOSE[11..]);
        let frame = decoder.next_frame().unwrap().unwrap();
        assert_eq!((frame.command, frame.fixed, frame.data), (Command::CLOSE, &[][..], &[][..]));
        assert_eq!(frame.bytes(), CLOSE);
        assert!(!decoder.is_partial());
    }

    #[test]
    fn impossible_sizes_are_refused_with_their_offset() {
        for size in [0_u32, 11, 8193, u32::MAX] {
            let mut decoder = Decoder::new();
            decoder.push(&CLOSE);
            decoder.push(&size.to_be_bytes());
            decoder.next_frame().unwrap().unwrap();
            assert_eq!(decoder.next_frame(), Err(MessageError::Size { size, offset: 12 }));
        }
    }

    #[test]
    fn a_fixed_part_beyond_the_message_is_refused() {
        let mut decoder = Decoder::new();
        decoder.push(&[0, 0, 0, 13, 0, 0, 0, 1, 0, 0, 0, 2, 9]);
        assert_eq!(
            decoder.next_frame(),
            Err(MessageError::CommandSize { command_size: 2, size: 13, offset: 0 })
        );
    }

    #[test]
    fn the_buffer_always_has_room_for_the_frame_that_has_begun() {
        let mut decoder = Decoder::new();
        let mut message = vec![7; MAX_MESSAGE];
        message[..12].copy_from_slice(&[0, 0, 0x20, 0, 0, 0, 0, 3, 0, 0, 0, 0]);
        let mut stream = message.clone();
        stream.extend_from_slice(&message);
        stream.extend_from_slice(&message);
        let (mut fed, mut frames) = (0, 0);
        while frames < 3 {
            fed += decoder.push(&stream[fed..(fed + 5000).min(stream.len())]);
            while let Some(frame) = decoder.next_frame().unwrap() {
                assert_eq!(frame.data.len(), MAX_DATA);
                frames += 1;
            }
        }
        assert_eq!(fed, stream.len());
    }
}
