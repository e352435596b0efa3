//! Every direct system call and instruction of this crate, safe on the outside.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// A descriptor that becomes readable when the process ends.
pub(crate) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: two numbers are passed and no memory.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let raw = i32::try_from(raw).unwrap_or(-1);
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it for us, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// The time stamp counter, read after all earlier instructions.
#[cfg(target_arch = "x86_64")]
#[allow(unused_unsafe)] // Whether these count as unsafe depends on the compiler's version.
pub(crate) fn time_stamp_counter() -> Option<u64> {
    // SAFETY: both instructions exist on every x86-64 processor and touch no memory.
    Some(unsafe {
        core::arch::x86_64::_mm_lfence();
        core::arch::x86_64::_rdtsc()
    })
}

/// There is none on this architecture.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn time_stamp_counter() -> Option<u64> {
    None
}
