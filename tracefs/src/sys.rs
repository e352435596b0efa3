//! Every system call of this crate that the standard library does not make, safe on the outside.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::ptr::{self, NonNull};

use nix::mount::{MsFlags, mount};
use nix::sys::utsname::UtsName;

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

/// Whether this process has root's user id.
pub(crate) fn is_root() -> bool {
    user_id() == 0
}

/// The user this process acts as.
pub(crate) fn user_id() -> u32 {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// The id of the calling thread, as the kernel and its traces number it.
pub(crate) fn thread_id() -> i32 {
    // SAFETY: gettid takes nothing and cannot fail.
    unsafe { libc::gettid() }
}

/// Sets the nice value of the calling thread.
pub(crate) fn set_nice(value: i32) -> io::Result<()> {
    // SAFETY: the call takes numbers, no memory; 0 is the calling thread.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, value) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes the calling thread a real-time one, first in, first out.
pub(crate) fn set_realtime(priority: i32) -> io::Result<()> {
    let param = libc::sched_param { sched_priority: priority };
    // SAFETY: the parameters live on this stack during the call; 0 is the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const param) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Moves up to `len` bytes between two descriptors inside the kernel; returns how many moved.
/// Never waits where the descriptors do not.
pub(crate) fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, len: usize) -> io::Result<usize> {
    splice_at(from, to, None, len)
}

/// The same, to `offset` of a file instead of its own position.
pub(crate) fn splice_at(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    offset: Option<u64>,
    len: usize,
) -> io::Result<usize> {
    let (from, to) = (from.as_raw_fd(), to.as_raw_fd());
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    let mut offset = offset.map(libc::loff_t::try_from).transpose().map_err(io::Error::other)?;
    let offset = offset.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
    // SAFETY: both descriptors are borrowed, so they stay open for the call; the offset is null,
    // which makes the kernel use the descriptor's own position, or points to a local that outlives
    // the call.
    let moved = unsafe { libc::splice(from, ptr::null_mut(), to, offset, len, flags) };
    usize::try_from(moved).map_err(|_| io::Error::last_os_error())
}

/// Memory that the kernel shares for reading, and goes on writing to.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: it is only read through this, and belongs to no thread.
unsafe impl Send for SharedMemory {}

impl SharedMemory {
    /// Maps `len` bytes of a file from `offset` on.
    pub(crate) fn map(file: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<Self> {
        let offset = libc::off64_t::try_from(offset).map_err(io::Error::other)?;
        let (fd, how) = (file.as_raw_fd(), libc::MAP_SHARED);
        // SAFETY: the kernel chooses a free place for the mapping, so no memory of this process is
        // replaced; the descriptor is borrowed for the call.
        let start = unsafe { libc::mmap64(ptr::null_mut(), len, libc::PROT_READ, how, fd, offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::Other)?;
        Ok(Self { start, len })
    }

    /// The number at `at`, a multiple of four, as it is now; nothing outside.
    pub(crate) fn number(&self, at: usize) -> Option<u32> {
        let is_inside = at.is_multiple_of(4) && at.checked_add(4)? <= self.len;
        // SAFETY: inside of the mapping, which lives as long as this value, and aligned, as a mapping
        // starts at a page. The kernel may write meanwhile, hence volatile.
        is_inside.then(|| unsafe { self.start.add(at).cast::<u32>().read_volatile() })
    }

    /// Copies from `at` on; says whether all of that is inside.
    pub(crate) fn copy_to(&self, at: usize, into: &mut [u8]) -> bool {
        let is_inside = at.checked_add(into.len()).is_some_and(|end| end <= self.len);
        if is_inside {
            let from = self.start.as_ptr();
            // SAFETY: inside of the mapping, which is no memory of `into`; any bytes are values.
            unsafe { ptr::copy_nonoverlapping(from.add(at), into.as_mut_ptr(), into.len()) };
        }
        is_inside
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` and by nobody else, and not used after this.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

nix::ioctl_none!(trace_mmap_get_reader, b'R', 0x20);

/// Has the kernel lend the next sub-buffer of a mapped ring buffer, or more of the same.
pub(crate) fn next_sub_buffer(ring_buffer: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed, and the call takes no memory.
    unsafe { trace_mmap_get_reader(ring_buffer.as_raw_fd()) }?;
    Ok(())
}

/// Has the kernel start to write a part of a file to its disk, without waiting for it.
pub(crate) fn start_writeback(file: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
    let offset = libc::off64_t::try_from(offset).map_err(io::Error::other)?;
    let len = libc::off64_t::try_from(len).map_err(io::Error::other)?;
    // SAFETY: the descriptor is borrowed, and the call takes numbers, no memory.
    let result = unsafe {
        libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What offsets and lengths of writes past the page cache must be multiples of; nothing where the
/// file system does not say, or has none.
pub(crate) fn direct_io_block(file: BorrowedFd<'_>) -> Option<u64> {
    let mut found = std::mem::MaybeUninit::<libc::statx>::zeroed();
    let flags = libc::AT_EMPTY_PATH;
    // SAFETY: the path is empty and NUL-terminated, and the kernel writes one statx to where the
    // pointer leads, a local that outlives the call.
    let result = unsafe {
        libc::statx(file.as_raw_fd(), c"".as_ptr(), flags, libc::STATX_DIOALIGN, found.as_mut_ptr())
    };
    // SAFETY: of numbers only, for which zero is a value; it was zeroed before the call.
    let found = unsafe { found.assume_init() };
    let is_told = result == 0 && found.stx_mask & libc::STATX_DIOALIGN != 0;
    (is_told && found.stx_dio_offset_align > 0).then(|| u64::from(found.stx_dio_offset_align))
}

/// Sets the capacity of a pipe in bytes; returns what it became.
pub(crate) fn set_pipe_size(pipe: BorrowedFd<'_>, size: i32) -> io::Result<usize> {
    // SAFETY: the descriptor is borrowed, and F_SETPIPE_SZ takes a number, no memory.
    let became = unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, size) };
    usize::try_from(became).map_err(|_| io::Error::last_os_error())
}

/// The capacity of a pipe in bytes.
pub(crate) fn pipe_size(pipe: BorrowedFd<'_>) -> io::Result<usize> {
    // SAFETY: the descriptor is borrowed, and F_GETPIPE_SZ takes nothing.
    let size = unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_GETPIPE_SZ) };
    usize::try_from(size).map_err(|_| io::Error::last_os_error())
}

/// Makes reads and writes return instead of waiting.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    if !flags.contains(OFlag::O_NONBLOCK) {
        fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    }
    Ok(())
}

/// System, node name, release and machine.
pub(crate) fn uname() -> [String; 4] {
    let name = nix::sys::utsname::uname().ok();
    let text = |part: Option<&std::ffi::OsStr>| {
        part.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let name = name.as_ref();
    [
        text(name.map(UtsName::sysname)),
        text(name.map(UtsName::nodename)),
        text(name.map(UtsName::release)),
        text(name.map(UtsName::machine)),
    ]
}
