//! Copies between descriptors inside the kernel where it can, through a buffer where it cannot.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};

use crate::{Stream, fifo};

const BUFFER: usize = 64 << 10;

/// Moves bytes from one descriptor to another, one of which must be a pipe to stay inside the kernel.
///
/// When the kernel refuses the pair (EINVAL), it reads and writes through a buffer from then on.
#[derive(Debug, Default)]
pub struct Mover {
    buffer: Option<Box<[u8]>>,
    /// What was read into the buffer and not yet written: start and end.
    pending: (usize, usize),
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// So many bytes arrived.
    Bytes(usize),
    /// The source has ended.
    End,
    /// Nothing to read now (source non-blocking).
    SourceEmpty,
    /// No room to write now (target non-blocking).
    TargetFull,
}

impl Mover {
    /// A mover that tries the kernel first.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A mover that uses a buffer only.
    #[must_use]
    pub fn buffered() -> Self {
        Self { buffer: Some(vec![0; BUFFER].into_boxed_slice()), pending: (0, 0) }
    }

    /// Moves up to `limit` bytes; with `offset`, to that place in the target, and moves it on.
    ///
    /// # Errors
    ///
    /// What the system answered for the source or the target. Nothing that was read is lost: the next call goes on.
    pub fn step(
        &mut self,
        from: impl AsFd,
        to: impl AsFd,
        mut offset: Option<&mut u64>,
        limit: usize,
    ) -> io::Result<Moved> {
        let (from, to) = (from.as_fd(), to.as_fd());
        if self.buffer.is_none() {
            match in_kernel(from, to, offset.as_deref_mut(), limit) {
                Err(nix::Error::EINVAL | nix::Error::ENOSYS) => {
                    self.buffer = Some(vec![0; BUFFER].into_boxed_slice());
                }
                // Either side may be the cause; a source with something to read tells which.
                Err(nix::Error::EAGAIN) if is_readable(from)? => return Ok(Moved::TargetFull),
                Err(nix::Error::EAGAIN) => return Ok(Moved::SourceEmpty),
                Err(errno) => return Err(errno.into()),
                Ok(0) => return Ok(Moved::End),
                Ok(count) => return Ok(Moved::Bytes(count)),
            }
        }
        self.through_buffer(from, to, offset, limit)
    }

    /// Bytes read from the source and not yet written to the target.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.1 - self.pending.0
    }

    fn through_buffer(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        offset: Option<&mut u64>,
        limit: usize,
    ) -> io::Result<Moved> {
        let Some(buffer) = self.buffer.as_deref_mut() else {
            return Ok(Moved::SourceEmpty);
        };
        if self.pending.0 == self.pending.1 {
            let room = limit.min(buffer.len());
            match nix::unistd::read(from, buffer.get_mut(..room).unwrap_or_default()) {
                Ok(0) => return Ok(Moved::End),
                Ok(count) => self.pending = (0, count),
                Err(nix::Error::EAGAIN) => return Ok(Moved::SourceEmpty),
                Err(errno) => return Err(errno.into()),
            }
        }
        let bytes = buffer.get(self.pending.0..self.pending.1).unwrap_or_default();
        let written = match offset {
            Some(at) => {
                let raw = i64::try_from(*at).map_err(|_| nix::Error::EOVERFLOW)?;
                let count = nix::sys::uio::pwrite(to, bytes, raw)?;
                *at += count as u64;
                count
            }
            None => match nix::unistd::write(to, bytes) {
                Ok(count) => count,
                Err(nix::Error::EAGAIN) => return Ok(Moved::TargetFull),
                Err(errno) => return Err(errno.into()),
            },
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.pending.0 += written;
        Ok(Moved::Bytes(written))
    }
}

/// Moves what arrives on streams to places in files, through a pipe of its own.
///
/// One serves any number of streams in turn, as a step leaves nothing behind unless the file took it not.
#[derive(Debug)]
pub struct ToFile {
    /// The pipe's ends: to read from and to write to.
    pipe: (OwnedFd, OwnedFd),
    capacity: usize,
    /// Bytes in the pipe, or in the buffer of what takes them out of it.
    held: usize,
    out: Mover,
    /// For streams that give the kernel no pages.
    direct: Mover,
}

impl ToFile {
    /// Makes the pipe, of 1 MiB where this user may have one.
    ///
    /// # Errors
    ///
    /// What the system answered.
    pub fn new() -> io::Result<Self> {
        let pipe = nix::unistd::pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
        // What the system allows is good enough.
        let _ = fifo::set_capacity(&pipe.1, fifo::WANTED_CAPACITY);
        let capacity = usize::try_from(fcntl(&pipe.1, FcntlArg::F_GETPIPE_SZ)?).unwrap_or(0);
        Ok(Self { pipe, capacity, held: 0, out: Mover::new(), direct: Mover::buffered() })
    }

    /// Moves what is there, up to `limit` bytes and the pipe's size, to `offset` in a file, and moves that on. A limit of
    /// zero is a full target.
    ///
    /// # Errors
    ///
    /// What the system answered for the stream or the file. What the stream gave and the file did not take is
    /// [`pending`](Self::pending): the next step writes it first, so it is for the same file or to be
    /// [discarded](Self::discard).
    pub fn step(
        &mut self,
        from: &Stream,
        file: impl AsFd,
        offset: &mut u64,
        limit: usize,
    ) -> io::Result<Moved> {
        if limit == 0 {
            return Ok(Moved::TargetFull);
        }
        if self.direct.pending() > 0 {
            return self.direct.step(from, file, Some(offset), limit);
        }
        if self.held == 0 {
            match in_kernel(from.as_fd(), self.pipe.1.as_fd(), None, limit.min(self.capacity)) {
                Ok(0) => return Ok(Moved::End),
                Ok(count) => self.held = count,
                Err(nix::Error::EAGAIN) => return Ok(Moved::SourceEmpty),
                Err(nix::Error::EINVAL | nix::Error::ENOSYS) => {
                    return self.direct.step(from, file, Some(offset), limit);
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        let count = self.held;
        while self.held > 0 {
            let before = *offset;
            let moved = self.out.step(&self.pipe.0, &file, Some(&mut *offset), self.held)?;
            let written = usize::try_from(*offset - before).unwrap_or(usize::MAX);
            self.held = self.held.saturating_sub(written);
            if !matches!(moved, Moved::Bytes(_)) {
                // The pipe is not empty, so it is the file that takes nothing.
                return Ok(Moved::TargetFull);
            }
        }
        Ok(Moved::Bytes(count))
    }

    /// Bytes taken from a stream and not yet in a file.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.held + self.direct.pending()
    }

    /// Forgets what is pending, of a stream whose file can take no more; returns how many bytes that was.
    ///
    /// # Errors
    ///
    /// The system has no new pipe.
    pub fn discard(&mut self) -> io::Result<usize> {
        let lost = self.pending();
        if lost > 0 {
            *self = Self::new()?;
        }
        Ok(lost)
    }
}

fn in_kernel(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    offset: Option<&mut u64>,
    limit: usize,
) -> nix::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
    match offset {
        None => splice(from, None, to, None, limit, flags),
        Some(at) => {
            let mut raw = i64::try_from(*at).map_err(|_| nix::Error::EOVERFLOW)?;
            let moved = splice(from, None, to, Some(&mut raw), limit, flags)?;
            *at += moved as u64;
            Ok(moved)
        }
    }
}

fn is_readable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    Ok(poll(&mut fds, PollTimeout::ZERO)? > 0)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use super::*;
    use crate::Deadline;

    fn pipe() -> (std::fs::File, std::fs::File) {
        let (read, write) = nix::unistd::pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).unwrap();
        (read.into(), write.into())
    }

    #[test]
    fn bytes_go_from_a_pipe_to_a_place_in_a_file() {
        for mut mover in [Mover::new(), Mover::buffered()] {
            let (read, mut write) = pipe();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(b"0123456789").unwrap();
            write.write_all(b"abcd").unwrap();
            let mut at = 3;
            assert_eq!(mover.step(&read, &file, Some(&mut at), 3).unwrap(), Moved::Bytes(3));
            assert_eq!(at, 6);
            assert_eq!(mover.step(&read, &file, Some(&mut at), 100).unwrap(), Moved::Bytes(1));
            assert_eq!(mover.step(&read, &file, Some(&mut at), 100).unwrap(), Moved::SourceEmpty);
            drop(write);
            assert_eq!(mover.step(&read, &file, Some(&mut at), 100).unwrap(), Moved::End);
            file.rewind().unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, "012abcd789");
        }
    }

    #[test]
    fn a_pair_without_a_pipe_falls_back_to_a_buffer() {
        let mut from = tempfile::tempfile().unwrap();
        from.write_all(b"payload").unwrap();
        from.rewind().unwrap();
        let mut to = tempfile::tempfile().unwrap();
        let mut mover = Mover::new();
        assert_eq!(mover.step(&from, &to, None, 100).unwrap(), Moved::Bytes(7));
        assert_eq!(mover.step(&from, &to, None, 100).unwrap(), Moved::End);
        to.rewind().unwrap();
        let mut text = String::new();
        to.read_to_string(&mut text).unwrap();
        assert_eq!(text, "payload");
    }

    #[test]
    fn what_arrives_on_streams_goes_to_places_in_a_file() {
        let mut to_file = ToFile::new().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let (mut near, far) = Stream::pair().unwrap();
        let (mut other_near, other_far) = Stream::pair().unwrap();
        near.write_all(b"one two", Deadline::NEVER).unwrap();
        other_near.write_all(b"THREE", Deadline::NEVER).unwrap();
        let (mut at, mut other_at) = (3, 20);
        assert_eq!(to_file.step(&far, &file, &mut at, 3).unwrap(), Moved::Bytes(3));
        assert_eq!(to_file.step(&other_far, &file, &mut other_at, 99).unwrap(), Moved::Bytes(5));
        assert_eq!(to_file.step(&far, &file, &mut at, 99).unwrap(), Moved::Bytes(4));
        assert_eq!(to_file.step(&far, &file, &mut at, 99).unwrap(), Moved::SourceEmpty);
        drop(near);
        assert_eq!(to_file.step(&far, &file, &mut at, 99).unwrap(), Moved::End);
        assert_eq!((at, other_at, to_file.pending()), (10, 25, 0));
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"\0\0\0one two\0\0\0\0\0\0\0\0\0\0THREE");
    }

    #[test]
    fn what_a_file_does_not_take_is_kept_or_discarded() {
        let (mut near, far) = Stream::pair().unwrap();
        near.write_all(b"payload", Deadline::NEVER).unwrap();
        let mut to_file = ToFile::new().unwrap();
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut at = 0;
        let error = to_file.step(&far, &full, &mut at, 99).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
        assert_eq!((at, to_file.pending()), (0, 7));
        let mut file = tempfile::tempfile().unwrap();
        assert_eq!(to_file.step(&far, &file, &mut at, 99).unwrap(), Moved::Bytes(7));
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!((at, text.as_str()), (7, "payload"));

        near.write_all(b"more", Deadline::NEVER).unwrap();
        to_file.step(&far, &full, &mut at, 99).unwrap_err();
        assert_eq!(to_file.discard().unwrap(), 4);
        assert_eq!(to_file.step(&far, &file, &mut at, 99).unwrap(), Moved::SourceEmpty);
    }

    #[test]
    fn a_full_target_is_told_from_an_empty_source() {
        let (read, mut write) = pipe();
        let (_keep, mut full) = pipe();
        while full.write(&[0; 4096]).is_ok() {}
        write.write_all(b"x").unwrap();
        for mut mover in [Mover::new(), Mover::buffered()] {
            assert_eq!(mover.step(&read, &full, None, 10).unwrap(), Moved::TargetFull);
        }
    }
}
