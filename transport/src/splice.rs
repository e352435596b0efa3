//! Copies between descriptors inside the kernel where it can, through a buffer where it cannot.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::fcntl::{SpliceFFlags, splice};

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

    fn pipe() -> (std::fs::File, std::fs::File) {
        let (read, write) =
            nix::unistd::pipe2(nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_CLOEXEC)
                .unwrap();
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
