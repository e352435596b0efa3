//! Named pipes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};

use crate::{Error, Stream, sys};

/// Bytes a data FIFO should hold, so that its reader wakes seldom.
pub const WANTED_CAPACITY: usize = 1 << 20;
/// More than a FIFO can hold where nobody changed the system's limits much.
const MAX_LEFT: u64 = 64 << 20;

/// Opens the read end without waiting for a writer, and keeps others who do the same out: two readers would each have
/// half.
///
/// # Errors
///
/// [`Error::Io`] with the path, also for a link and when somebody reads from it; [`Error::Kind`] when it is not a FIFO.
pub fn open_read(path: &Path) -> Result<Stream, Error> {
    let file = open(path, OpenOptions::new().read(true))?;
    sys::try_lock(file.as_fd()).map_err(|error| {
        let source = match error.kind() {
            io::ErrorKind::WouldBlock => {
                io::Error::new(io::ErrorKind::ResourceBusy, "another program reads from it")
            }
            _ => error,
        };
        Error::Io { step: "opening", peer: path.display().to_string(), source }
    })?;
    Stream::new(file.into(), path.display().to_string())
}

/// Takes away what is in it: it is of nobody who is there now. Returns how many bytes that were.
///
/// # Errors
///
/// Reading fails.
pub fn empty(fifo: &mut Stream) -> io::Result<u64> {
    let (mut buffer, mut taken) = (vec![0; 64 << 10], 0);
    // A writer that goes on meanwhile is not followed for ever.
    while taken < MAX_LEFT {
        match fifo.try_read(&mut buffer)? {
            Some(count @ 1..) => taken += count as u64,
            _ => break,
        }
    }
    Ok(taken)
}

/// Opens the write end; without a reader that fails (ENXIO).
///
/// # Errors
///
/// [`Error::Io`] with the path, also for a link, [`Error::Kind`] when it is not a FIFO.
pub fn open_write(path: &Path) -> Result<Stream, Error> {
    let file = open(path, OpenOptions::new().write(true))?;
    Stream::new(file.into(), path.display().to_string())
}

/// Asks for room for `bytes`; what the system allows is good enough.
///
/// # Errors
///
/// What the system answered, EPERM for more than this user may have.
pub fn set_capacity(fifo: impl AsFd, bytes: usize) -> io::Result<()> {
    let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
    fcntl(fifo, FcntlArg::F_SETPIPE_SZ(bytes))?;
    Ok(())
}

fn open(path: &Path, options: &mut OpenOptions) -> Result<File, Error> {
    let peer = path.display().to_string();
    let failed = |source| Error::Io { step: "opening", peer: peer.clone(), source };
    let file = options
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW)
        .open(path)
        .map_err(failed)?;
    // Asked of the open descriptor: the path may name something else by now.
    if !file.metadata().map_err(failed)?.file_type().is_fifo() {
        return Err(Error::Kind { path: peer, expected: "a FIFO" });
    }
    Ok(file)
}
