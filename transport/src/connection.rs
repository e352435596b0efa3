//! Messages over a stream.

use std::os::fd::{AsFd, BorrowedFd};

use crate::message::{Decoder, Message};
use crate::{Deadline, Error, Interest, Stream};

/// Messages over a [`Stream`], one at a time.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    decoder: Decoder,
    out: Vec<u8>,
}

impl Connection {
    /// Messages start with the next byte of `stream`.
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        Self { stream, decoder: Decoder::new(), out: Vec::new() }
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// It does not fit, or the peer takes it too late or not at all.
    pub fn send(&mut self, message: &Message<'_>, deadline: Deadline) -> Result<(), Error> {
        self.out.clear();
        message
            .encode(&mut self.out)
            .map_err(|source| Error::Encode { peer: self.stream.peer().to_owned(), source })?;
        self.stream.write_all(&self.out, deadline)
    }

    /// Sends messages that are encoded already.
    ///
    /// # Errors
    ///
    /// The peer takes them too late or not at all.
    pub fn send_bytes(&mut self, bytes: &[u8], deadline: Deadline) -> Result<(), Error> {
        self.stream.write_all(bytes, deadline)
    }

    /// Waits for the next message.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Closed`], [`Error::Message`] or [`Error::Io`].
    pub fn receive(&mut self, deadline: Deadline) -> Result<Message<'_>, Error> {
        // Bytes are gathered first and decoded once, as a borrowed result cannot leave the loop.
        self.gather(deadline)?;
        let peer = self.stream.peer();
        let broken = |source| Error::Message { peer: peer.to_owned(), source };
        match self.decoder.next_frame().map_err(broken)? {
            Some(frame) => Message::decode(&frame).map_err(broken),
            None => Err(self.stream.closed("reading from")),
        }
    }

    /// The stream, to wait on it together with others.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Whether a message is already here, or a broken one: [`receive`](Self::receive) will not wait.
    #[must_use]
    pub fn has_message(&self) -> bool {
        !matches!(self.decoder.peek_size(), Ok(None))
    }

    fn gather(&mut self, deadline: Deadline) -> Result<(), Error> {
        while !self.has_message() {
            let count = self.stream.read_some(self.decoder.space(), deadline)?;
            if count == 0 {
                return Err(self.stream.closed("reading from"));
            }
            self.decoder.filled(count);
        }
        Ok(())
    }

    /// Reads what is there without waiting; true when a message has become complete.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive), without the time-out.
    pub fn poll(&mut self) -> Result<bool, Error> {
        while !self.has_message() {
            match self.stream.try_read(self.decoder.space()) {
                Ok(Some(0)) => return Err(self.stream.closed("reading from")),
                Ok(Some(count)) => self.decoder.filled(count),
                Ok(None) => return Ok(false),
                Err(source) => {
                    return Err(Error::Io {
                        step: "reading from",
                        peer: self.stream.peer().to_owned(),
                        source,
                    });
                }
            }
        }
        Ok(true)
    }

    /// Waits until something can be read; false when the deadline passed first.
    ///
    /// # Errors
    ///
    /// What the system answered.
    pub fn wait(&self, deadline: Deadline) -> std::io::Result<bool> {
        Ok(self.has_message() || self.stream.wait(Interest::Read, deadline)?)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::MessageError;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(240))
    }

    #[test]
    fn messages_arrive_in_order_whatever_the_pieces() {
        let (mut raw, stream) = Stream::pair().unwrap();
        let mut connection = Connection::new(stream);
        let mut bytes = Vec::new();
        Message::SendData(b"one").encode(&mut bytes).unwrap();
        Message::Close.encode(&mut bytes).unwrap();
        let (first, second) = bytes.split_at(14);
        raw.write_all(first, soon()).unwrap();
        assert!(!connection.poll().unwrap());
        raw.write_all(second, soon()).unwrap();
        assert_eq!(connection.receive(soon()).unwrap(), Message::SendData(b"one"));
        assert!(connection.has_message());
        assert_eq!(connection.receive(soon()).unwrap(), Message::Close);
    }

    #[test]
    fn a_hang_up_in_the_middle_of_a_message_is_told() {
        let (mut raw, stream) = Stream::pair().unwrap();
        raw.write_all(&[0, 0, 0, 12, 0], soon()).unwrap();
        drop(raw);
        let error = Connection::new(stream).receive(soon()).unwrap_err();
        assert!(matches!(error, Error::Closed { .. }), "{error}");
    }

    #[test]
    fn garbage_is_an_error_at_its_offset() {
        let (mut raw, stream) = Stream::pair().unwrap();
        raw.write_all(b"GET / HTTP/1.0\r\n", soon()).unwrap();
        let error = Connection::new(stream).receive(soon()).unwrap_err();
        let Error::Message { source, .. } = error else { panic!("{error}") };
        assert_eq!(source, MessageError::Size { size: 0x4745_5420, offset: 0 });
    }
}
