//! Every system call of this crate that the standard library does not make, safe on the outside.

use std::io;
use std::path::Path;

use nix::mount::{MsFlags, mount};

/// Mounts tracefs.
pub(crate) fn mount_tracefs(target: &Path) -> io::Result<()> {
    mount(Some("nodev"), target, Some("tracefs"), MsFlags::empty(), None::<&str>)?;
    Ok(())
}

/// The page size of this machine.
pub(crate) fn page_size() -> usize {
    // SAFETY: sysconf only looks up a number; no memory is passed.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}
