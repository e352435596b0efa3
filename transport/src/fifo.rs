//! Named pipes.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};

use crate::{Error, Stream};

/// Bytes a data FIFO should hold, so that its reader wakes seldom.
pub const WANTED_CAPACITY: usize = 1 << 20;

/// Opens the read end without waiting for a writer.
///
/// # Errors
///
/// [`Error::Io`] with the path, also for a link, [`Error::Kind`] when it is not a FIFO.
pub fn open_read(path: &Path) -> Result<Stream, Error> {
    open(path, OpenOptions::new().read(true))
}

/// Opens the write end; without a reader that fails (ENXIO).
///
/// # Errors
///
/// [`Error::Io`] with the path, also for a link, [`Error::Kind`] when it is not a FIFO.
pub fn open_write(path: &Path) -> Result<Stream, Error> {
    open(path, OpenOptions::new().write(true))
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

fn open(path: &Path, options: &mut OpenOptions) -> Result<Stream, Error> {
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
    Stream::new(file.into(), peer)
}
