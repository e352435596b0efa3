//! A byte stream with deadlines, whatever is behind it.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{Shutdown, shutdown};
use nix::sys::stat::{SFlag, fstat};

use crate::{Deadline, Error, socket};

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Something can be read, or the other side is gone.
    Read,
    /// Something can be written, or the other side is gone.
    Write,
}

/// A non-blocking descriptor and the name of who is at the other end.
///
/// [`Read`] and [`Write`] never wait: they answer `WouldBlock`. The methods with a [`Deadline`] do wait.
pub struct Stream {
    fd: OwnedFd,
    peer: String,
}

impl Stream {
    /// Takes a descriptor over and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when its flags cannot be changed.
    pub fn new(fd: OwnedFd, peer: impl Into<String>) -> Result<Self, Error> {
        let peer = peer.into();
        let set = || {
            let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
            fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))
        };
        match set() {
            Ok(_) => Ok(Self { fd, peer }),
            Err(errno) => Err(Error::Io { step: "preparing", peer, source: errno.into() }),
        }
    }

    /// Two connected streams in this process.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the system has no more descriptors.
    pub fn pair() -> Result<(Self, Self), Error> {
        let (a, b) = UnixStream::pair().map_err(|source| Error::Io {
            step: "making",
            peer: "a socket pair".to_owned(),
            source,
        })?;
        Ok((Self::new(a.into(), "socket pair")?, Self::new(b.into(), "socket pair")?))
    }

    /// Who is at the other end, for messages.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Changes what the other end is called, once it is known better.
    pub fn set_peer(&mut self, peer: impl Into<String>) {
        self.peer = peer.into();
    }

    /// Reads what is there: `None` when nothing is, zero bytes at the end of the stream.
    ///
    /// # Errors
    ///
    /// What the system answered.
    pub fn try_read(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match nix::unistd::read(&self.fd, buf) {
                Ok(count) => return Ok(Some(count)),
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Writes what fits: `None` when nothing does.
    ///
    /// # Errors
    ///
    /// What the system answered.
    pub fn try_write(&mut self, buf: &[u8]) -> io::Result<Option<usize>> {
        loop {
            match nix::unistd::write(&self.fd, buf) {
                Ok(count) => return Ok(Some(count)),
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Waits until the stream is ready; false when the deadline passed first.
    ///
    /// # Errors
    ///
    /// What the system answered.
    pub fn wait(&self, interest: Interest, deadline: Deadline) -> io::Result<bool> {
        let events = match interest {
            Interest::Read => PollFlags::POLLIN,
            Interest::Write => PollFlags::POLLOUT,
        };
        loop {
            let mut fds = [PollFd::new(self.fd.as_fd(), events)];
            match poll(&mut fds, deadline.poll_timeout()) {
                Ok(0) if deadline.has_passed() => return Ok(false),
                Ok(0) | Err(nix::Error::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Reads at least one byte, or none at the end of the stream.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] or [`Error::Io`].
    pub fn read_some(&mut self, buf: &mut [u8], deadline: Deadline) -> Result<usize, Error> {
        const STEP: &str = "reading from";
        loop {
            match self.try_read(buf) {
                Ok(Some(count)) => return Ok(count),
                Ok(None) => {}
                Err(source) => return Err(self.failed(STEP, source)),
            }
            match self.wait(Interest::Read, deadline) {
                Ok(true) => {}
                Ok(false) => return Err(self.timed_out(STEP)),
                Err(source) => return Err(self.failed(STEP, source)),
            }
        }
    }

    /// Writes all bytes.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Closed`] or [`Error::Io`].
    pub fn write_all(&mut self, mut bytes: &[u8], deadline: Deadline) -> Result<(), Error> {
        const STEP: &str = "writing to";
        while !bytes.is_empty() {
            match self.try_write(bytes) {
                Ok(Some(count)) => bytes = bytes.get(count..).unwrap_or_default(),
                Ok(None) => match self.wait(Interest::Write, deadline) {
                    Ok(true) => {}
                    Ok(false) => return Err(self.timed_out(STEP)),
                    Err(source) => return Err(self.failed(STEP, source)),
                },
                Err(source) => return Err(self.failed(STEP, source)),
            }
        }
        Ok(())
    }

    /// Whether the kernel moves pages between this and a pipe: out of it (`Read`) or into it (`Write`).
    ///
    /// Where it does not, or would do so in pieces of a page, large reads and writes are better.
    #[must_use]
    pub fn can_splice(&self, direction: Interest) -> bool {
        let Ok(status) = fstat(&self.fd) else {
            return false;
        };
        match SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFIFO => true,
            // Virtio-serial ports take pages, but give none.
            SFlag::S_IFCHR => direction == Interest::Write,
            SFlag::S_IFSOCK => socket::splices(&self.fd),
            _ => false,
        }
    }

    /// Has the kernel hold up to `bytes` bytes that the other side has not taken; of a socket.
    ///
    /// An ordinary user gets no more than the system's `net.core.wmem_max`.
    ///
    /// # Errors
    ///
    /// What the system answered, as when it is no socket.
    pub fn grow_send_buffer(&self, bytes: usize) -> io::Result<()> {
        socket::grow_send_buffer(&self.fd, bytes)
    }

    /// Ends what is sent, so that the other side sees the end of the stream once it has read all; of a socket. It can
    /// still be read.
    ///
    /// # Errors
    ///
    /// What the system answered, as when the other side is gone.
    pub fn end_sending(&self) -> io::Result<()> {
        Ok(shutdown(self.fd.as_raw_fd(), Shutdown::Write)?)
    }

    /// Gives the descriptor away; it stays non-blocking.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    pub(crate) fn closed(&self, step: &'static str) -> Error {
        Error::Closed { step, peer: self.peer.clone() }
    }

    fn timed_out(&self, step: &'static str) -> Error {
        Error::TimedOut { step, peer: self.peer.clone() }
    }

    fn failed(&self, step: &'static str, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => self.closed(step),
            _ => Error::Io { step, peer: self.peer.clone(), source },
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.try_read(buf)?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.try_write(buf)?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("peer", &self.peer).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn reading_from_a_silent_peer_ends_at_the_deadline() {
        let (mut a, _b) = Stream::pair().unwrap();
        let error =
            a.read_some(&mut [0; 8], Deadline::after(Duration::from_millis(20))).unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    }

    #[test]
    fn writing_to_a_peer_that_does_not_read_ends_at_the_deadline() {
        let (mut a, _b) = Stream::pair().unwrap();
        let much = vec![0; 8 << 20];
        let error = a.write_all(&much, Deadline::after(Duration::from_millis(20))).unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    }

    #[test]
    fn the_end_of_what_is_sent_is_seen_behind_all_of_it() {
        let soon = Deadline::after(Duration::from_secs(240));
        let (mut a, mut b) = Stream::pair().unwrap();
        a.grow_send_buffer(1 << 20).unwrap();
        a.write_all(b"all", soon).unwrap();
        a.end_sending().unwrap();
        let mut bytes = [0; 8];
        assert_eq!(b.read_some(&mut bytes, soon).unwrap(), 3);
        assert_eq!(b.read_some(&mut bytes, soon).unwrap(), 0);
        b.write_all(b"answer", soon).unwrap();
        assert_eq!(a.read_some(&mut bytes, soon).unwrap(), 6);
    }

    #[test]
    fn writing_to_a_closed_peer_says_so() {
        let (mut a, b) = Stream::pair().unwrap();
        drop(b);
        let error = a.write_all(b"x", Deadline::NEVER).unwrap_err();
        assert!(matches!(error, Error::Closed { .. }), "{error}");
    }
}
