//! Messages waiting to be written, with their borders known.

use std::collections::VecDeque;
use std::io;

use trace_transport::message::Message;
use trace_transport::{MessageError, Stream};

/// Whole messages in order. What was begun is always finished, so the reader never sees half of one.
#[derive(Debug, Default)]
pub(crate) struct OutQueue {
    messages: VecDeque<Vec<u8>>,
    /// Bytes of the first message that are already out.
    sent: usize,
    bytes: usize,
}

impl OutQueue {
    /// Bytes that may wait before the one who makes them is made to wait.
    pub(crate) const LIMIT: usize = 64 << 10;

    pub(crate) fn push(&mut self, message: &Message<'_>) -> Result<(), MessageError> {
        self.push_bytes(message.to_bytes()?);
        Ok(())
    }

    /// Puts a message before all that are not begun.
    pub(crate) fn push_urgent(&mut self, message: &Message<'_>) -> Result<(), MessageError> {
        let bytes = message.to_bytes()?;
        self.bytes += bytes.len();
        let place = usize::from(self.sent > 0).min(self.messages.len());
        self.messages.insert(place, bytes);
        Ok(())
    }

    pub(crate) fn push_bytes(&mut self, message: Vec<u8>) {
        self.bytes += message.len();
        self.messages.push_back(message);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.bytes < Self::LIMIT
    }

    /// Forgets all messages that are not begun.
    pub(crate) fn drop_unsent(&mut self) {
        self.messages.truncate(usize::from(self.sent > 0));
        self.bytes = self.messages.iter().map(Vec::len).sum::<usize>() - self.sent;
    }

    /// Writes as much as the stream takes now.
    pub(crate) fn flush(&mut self, stream: &mut Stream) -> io::Result<()> {
        while let Some(first) = self.messages.front() {
            let rest = first.get(self.sent..).unwrap_or_default();
            if !rest.is_empty() {
                let Some(count) = stream.try_write(rest)? else {
                    return Ok(());
                };
                self.sent += count;
                self.bytes -= count.min(self.bytes);
            }
            if self.sent >= first.len() {
                self.messages.pop_front();
                self.sent = 0;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_begun_message_is_finished_and_urgent_ones_come_next() {
        let (mut near, mut far) = Stream::pair().unwrap();
        let mut queue = OutQueue::default();
        let payload = [1; 8000];
        for _ in 0..200 {
            queue.push(&Message::SendData(&payload)).unwrap();
        }
        queue.flush(&mut near).unwrap();
        assert!(!queue.is_empty(), "the socket cannot hold all that");
        queue.push(&Message::CloseResp).unwrap();
        queue.push_urgent(&Message::Cont).unwrap();
        queue.drop_unsent();
        assert!(queue.bytes <= 8012);
        queue.push_urgent(&Message::Close).unwrap();
        let mut received = Vec::new();
        let mut buffer = [0; 4096];
        while !queue.is_empty() {
            while let Some(count) = far.try_read(&mut buffer).unwrap() {
                received.extend_from_slice(&buffer[..count]);
            }
            queue.flush(&mut near).unwrap();
        }
        while let Some(count) = far.try_read(&mut buffer).unwrap() {
            received.extend_from_slice(&buffer[..count]);
        }
        assert_eq!(received.len() % 8012, 12);
        assert!(received.ends_with(&Message::Close.to_bytes().unwrap()));
        assert_eq!(queue.bytes, 0);
    }
}
