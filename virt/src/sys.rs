//! Every direct system call and instruction of this crate, safe on the outside.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};

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

/// Has the command start with no signal blocked, whatever is blocked here.
pub(crate) fn unblock_signals_in(command: &mut Command) {
    // SAFETY: between fork and exec only async-signal-safe functions may be called; sigemptyset and sigprocmask are, and
    // nothing is allocated.
    unsafe {
        command.pre_exec(|| {
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            match libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        });
    }
}

/// Has the command run as somebody, with these groups and no others.
pub(crate) fn become_in(command: &mut Command, uid: Uid, gid: Gid, groups: Vec<Gid>) {
    let become_somebody = move || {
        // Who is no root is this user already, and may not even set the groups that are.
        if geteuid().is_root() {
            setgroups(&groups)?;
            setgid(gid)?;
            setuid(uid)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made, on memory that was made before.
    unsafe { command.pre_exec(become_somebody) };
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
