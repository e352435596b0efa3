//! Where the sub-buffers of one CPU go.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::time::Instant;

use super::direct::DirectFile;
use crate::ring_buffer::SplicePipe;
use crate::sys;

/// Where the sub-buffers of one CPU go.
#[non_exhaustive]
pub enum Sink {
    /// A file (written at its own position), pipe, FIFO, socket or virtio port. All but regular
    /// files are made non-blocking.
    Fd(OwnedFd),
    /// A part of a regular file, from `offset` on; the file's own position is not used. Where the file
    /// system can, much at once goes past the page cache, as long as the disk is fast enough.
    At {
        /// The file.
        file: File,
        /// Where the first sub-buffer goes.
        offset: u64,
    },
    /// Anything that takes bytes, in whole sub-buffers. One that blocks for ever is left behind at the
    /// end.
    Writer(Box<dyn Write + Send>),
    /// A writer with memory that sub-buffers are read to at once.
    Lender(Box<dyn Lender>),
    /// One who wants to know also when there is nothing more to take. By [`Way::Read`](crate::Way::Read) it gets
    /// sub-buffers that are still being filled, too.
    Follower(Box<dyn Follower>),
}

/// Takes sub-buffers, and lends the memory for them where it can: so they are copied once.
pub trait Lender: Write + Send {
    /// Lends memory for a sub-buffer of `len` bytes.
    ///
    /// # Errors
    /// No more sub-buffers are wanted.
    fn lend(&mut self, len: usize) -> io::Result<&mut [u8]>;

    /// Takes the sub-buffer that is in the memory lent last. One who blocks for ever is left behind at the
    /// end.
    ///
    /// # Errors
    /// It cannot be taken, and no more are wanted.
    fn take_lent(&mut self) -> io::Result<()>;
}

/// Takes sub-buffers as they come.
pub trait Follower: Send {
    /// Takes whole sub-buffers. One who blocks for ever is left behind at the end.
    ///
    /// # Errors
    /// They cannot be taken, and no more are wanted.
    fn take(&mut self, sub_buffers: &[u8]) -> io::Result<()>;

    /// Is told that all that was there has been taken: each time the recorder has nothing to do.
    ///
    /// # Errors
    /// No more sub-buffers are wanted.
    fn caught_up(&mut self) -> io::Result<()>;
}

impl From<OwnedFd> for Sink {
    fn from(fd: OwnedFd) -> Self {
        Self::Fd(fd)
    }
}

impl From<File> for Sink {
    fn from(file: File) -> Self {
        Self::Fd(file.into())
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fd(fd) => f.debug_tuple("Fd").field(fd).finish(),
            Self::At { file, offset } => {
                f.debug_struct("At").field("file", file).field("offset", offset).finish()
            }
            Self::Writer(_) => f.write_str("Writer"),
            Self::Lender(_) => f.write_str("Lender"),
            Self::Follower(_) => f.write_str("Follower"),
        }
    }
}

/// A sink made ready.
pub(super) enum Outlet {
    Fd(File),
    At { file: File, direct: Option<DirectFile>, next: u64 },
    Writer(Box<dyn Write + Send>),
    Lender(Box<dyn Lender>),
    Follower(Box<dyn Follower>),
}

impl Outlet {
    pub(super) fn new(sink: Sink, capacity: u64) -> io::Result<Self> {
        match sink {
            Sink::Fd(fd) => {
                let file = File::from(fd);
                let kind = file.metadata()?.file_type();
                if kind.is_fifo() || kind.is_socket() || kind.is_char_device() {
                    sys::set_nonblocking(file.as_fd())?;
                }
                Ok(Self::Fd(file))
            }
            Sink::At { file, offset } => {
                Ok(Self::At { direct: DirectFile::of(&file, capacity), file, next: offset })
            }
            Sink::Writer(writer) => Ok(Self::Writer(writer)),
            Sink::Lender(lender) => Ok(Self::Lender(lender)),
            Sink::Follower(follower) => Ok(Self::Follower(follower)),
        }
    }

    /// The descriptor, if there is one to splice to and to wait for.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Fd(file) | Self::At { file, .. } => Some(file.as_fd()),
            Self::Writer(_) | Self::Lender(_) | Self::Follower(_) => None,
        }
    }

    /// Who lends memory, if that is so.
    pub(super) fn lender(&mut self) -> Option<&mut dyn Lender> {
        match self {
            Self::Lender(lender) => Some(&mut **lender),
            _ => None,
        }
    }

    /// Moves up to `len` of the bytes in the pipe to the descriptor; writers and followers have none.
    pub(super) fn drain(&mut self, pipe: &SplicePipe, len: usize) -> io::Result<usize> {
        match self {
            Self::Fd(file) => pipe.drain(file.as_fd(), None, len),
            Self::At { file, direct, next } => {
                let moved = drain_to_file(pipe, file, direct, *next, len)?;
                *next = next.saturating_add(moved as u64);
                Ok(moved)
            }
            Self::Writer(_) | Self::Lender(_) | Self::Follower(_) => {
                Err(io::ErrorKind::Unsupported.into())
            }
        }
    }

    /// Writes some of `bytes`; a writer or follower takes all of them or fails.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Fd(file) => file.write(bytes),
            Self::At { file, next, .. } => {
                let written = file.write_at(bytes, *next)?;
                *next = next.saturating_add(written as u64);
                Ok(written)
            }
            Self::Writer(writer) => writer.write_all(bytes).map(|()| bytes.len()),
            Self::Lender(lender) => lender.write_all(bytes).map(|()| bytes.len()),
            Self::Follower(follower) => follower.take(bytes).map(|()| bytes.len()),
        }
    }

    /// Passes on what a writer holds back.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Fd(_) | Self::At { .. } | Self::Follower(_) => Ok(()),
            Self::Writer(writer) => writer.flush(),
            Self::Lender(lender) => lender.flush(),
        }
    }

    /// Tells a follower that there is nothing more for now.
    pub(super) fn caught_up(&mut self) -> io::Result<()> {
        match self {
            Self::Fd(_) | Self::At { .. } | Self::Writer(_) | Self::Lender(_) => Ok(()),
            Self::Follower(follower) => follower.caught_up(),
        }
    }
}

/// Past the page cache if that is of use; what cannot be written so can through it.
fn drain_to_file(
    pipe: &SplicePipe,
    file: &File,
    direct: &mut Option<DirectFile>,
    offset: u64,
    len: usize,
) -> io::Result<usize> {
    let started = Instant::now();
    if let Some(direct_file) = direct
        && let Some(fd) = direct_file.fit_for(offset, len, started)
    {
        match pipe.drain(fd, Some(offset), len) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => *direct = None,
            result => {
                let now = Instant::now();
                direct_file.learn(now, now.duration_since(started));
                return result;
            }
        }
    }
    pipe.drain(file.as_fd(), Some(offset), len)
}
