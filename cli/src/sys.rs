//! System calls without a safe wrapper: the only place with `unsafe`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{Gid, Uid, getpid, getppid, read, setgid, setgroups, setuid, write};

/// Whom a command runs as.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    pub(crate) groups: Vec<Gid>,
}

/// Has `command` tell its pid on `gate`, and start its program only when a byte comes back there;
/// it ends with success when the other side, `ours`, is closed instead.
pub(crate) fn hold(
    command: &mut Command,
    gate: OwnedFd,
    ours: RawFd,
    identity: Option<Identity>,
) -> &mut Command {
    let parent = getpid();
    let wait = move || {
        // SAFETY: this process has a descriptor table of its own, and nothing in it uses this one.
        // With it open the end of the parent would never be seen.
        unsafe { libc::close(ours) };
        if let Some(identity) = &identity {
            setgroups(&identity.groups)?;
            setgid(identity.gid)?;
            setuid(identity.uid)?;
        }
        let pid = std::process::id().to_ne_bytes();
        write(&gate, &pid)?;
        let mut byte = [0];
        match read(&gate, &mut byte)? {
            1 => Ok(()),
            // SAFETY: ends this process at once. Nobody is left to be told, which std insists on.
            _ if getppid() != parent => unsafe { libc::_exit(1) },
            // SAFETY: ends this process at once. An error would have to be told to the parent, which
            // std insists on also when the parent was killed.
            _ => unsafe { libc::_exit(0) },
        }
    };
    // SAFETY: between fork and exec only system calls are made, on memory that was made before.
    unsafe { command.pre_exec(wait) }
}

/// Has writing beyond the limit on the size of files (RLIMIT_FSIZE) fail, where the system would end this process, and
/// tracing would stay as it is. Programs that are started are ended as ever.
pub(crate) fn outlive_file_limit() -> nix::Result<()> {
    extern "C" fn ignore(_: libc::c_int) {}
    let action = SigAction::new(SigHandler::Handler(ignore), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGXFSZ, &action) }.map(drop)
}

/// A descriptor that is readable once a process has ended.
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = RawFd::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens a performance event that counts nothing, on one CPU, for what its page tells.
pub(crate) fn open_dummy_perf_event(cpu: u32) -> io::Result<OwnedFd> {
    /// The first version of the structure, all the kernel needs.
    const SIZE: u32 = 64;
    const TYPE_SOFTWARE: u32 = 1;
    const COUNT_DUMMY: u64 = 9;
    const FLAG_FD_CLOEXEC: libc::c_ulong = 8;
    let mut attr = [0u64; SIZE as usize / 8];
    attr[0] = u64::from_ne_bytes(two(TYPE_SOFTWARE, SIZE));
    attr[1] = COUNT_DUMMY;
    let cpu = libc::c_int::try_from(cpu).map_err(io::Error::other)?;
    // SAFETY: `attr` is as long as it says, and lives across the call.
    let fd = unsafe {
        libc::syscall(libc::SYS_perf_event_open, attr.as_ptr(), -1, cpu, -1, FLAG_FD_CLOEXEC)
    };
    let fd = RawFd::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Two numbers as they lie in memory, one behind the other.
fn two(first: u32, second: u32) -> [u8; 8] {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    [a, b, c, d, e, f, g, h]
}

/// The first bytes of what a descriptor maps, copied.
pub(crate) fn mapped_head<const N: usize>(fd: BorrowedFd<'_>) -> io::Result<[u8; N]> {
    const { assert!(N <= 4096, "no page is smaller") };
    let (read, shared) = (libc::PROT_READ, libc::MAP_SHARED);
    // SAFETY: a new mapping where the kernel likes, of one page.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), N, read, shared, fd.as_raw_fd(), 0) };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: at least N bytes are mapped; a change meanwhile can only give other numbers.
    let head = unsafe { std::ptr::read_volatile(page.cast::<[u8; N]>()) };
    // SAFETY: the mapping from above, of which nothing is left in use.
    unsafe { libc::munmap(page, N) };
    Ok(head)
}
