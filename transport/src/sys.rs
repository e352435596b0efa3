//! Every direct system call of this crate, safe on the outside.

use std::ffi::{CStr, c_int};
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::sys::socket::{SockFlag, SockaddrLike, SockaddrStorage};

use crate::socket::internet_address;

/// Datagrams per call at most; what describes them stands on the stack.
pub(crate) const BATCH: usize = 64;
/// Parts of a datagram to be sent: a head and a payload.
pub(crate) const PARTS: usize = 2;
/// Datagrams that the kernel cuts out of one buffer at most.
const MAX_SEGMENTS: usize = 64;
/// Bytes of such a buffer at most, with either version of IP.
const MAX_SEGMENTED: usize = 65_000;

/// Option of `AF_VSOCK` sockets: bytes of the receive buffer.
const SO_VM_SOCKETS_BUFFER_SIZE: c_int = 0;
/// As above, the most it may be.
const SO_VM_SOCKETS_BUFFER_MAX_SIZE: c_int = 2;
const UDP_SEGMENT: c_int = 103;
const UDP_GRO: c_int = 104;

/// Takes the next connection.
pub(crate) fn accept(socket: BorrowedFd<'_>, flags: SockFlag) -> io::Result<OwnedFd> {
    let raw = nix::sys::socket::accept4(socket.as_raw_fd(), flags)?;
    // SAFETY: the kernel has just opened it for us, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Sets how many bytes a vsock socket holds for its reader.
pub(crate) fn set_vsock_buffer(socket: BorrowedFd<'_>, bytes: u64) -> io::Result<()> {
    set_option(socket, libc::AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, bytes)?;
    set_option(socket, libc::AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, bytes)
}

/// Has the kernel acknowledge what was received without waiting for more.
pub(crate) fn set_quick_ack(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option::<c_int>(socket, libc::IPPROTO_TCP, libc::TCP_QUICKACK, 1)
}

/// Has the kernel hand over datagrams of one sender together.
pub(crate) fn set_coalescing(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option::<c_int>(socket, libc::IPPROTO_UDP, UDP_GRO, 1)
}

/// Sets an option whose value is a plain number.
fn set_option<T: Into<i128> + Copy>(
    socket: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    value: T,
) -> io::Result<()> {
    let size = size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer and the size are those of `value`, which lives through the call; numbers have no padding.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Datagrams that found the socket's buffer full, since it was opened; wraps.
///
/// # Kernel support
///
/// 4.12 and later.
pub(crate) fn dropped(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut info = [0_u32; libc::SK_MEMINFO_DROPS as usize + 1];
    let mut size = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `size` bytes to `info`, for which any bits will do.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            info.as_mut_ptr().cast(),
            &raw mut size,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    if (size as usize) < size_of_val(&info) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(info[libc::SK_MEMINFO_DROPS as usize])
}

/// The name of an address, as the name service knows it. May take seconds.
pub(crate) fn host_name(address: &SocketAddr) -> Option<String> {
    let address = SockaddrStorage::from(*address);
    let mut name = [0_u8; libc::NI_MAXHOST as usize];
    // SAFETY: the address is valid for its length, and at most the size of `name` is written to it; no room is given for
    // a port, which is allowed.
    let failed = unsafe {
        libc::getnameinfo(
            address.as_ptr(),
            address.len(),
            name.as_mut_ptr().cast(),
            name.len() as libc::socklen_t,
            ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    if failed != 0 {
        return None;
    }
    CStr::from_bytes_until_nul(&name).ok()?.to_str().ok().map(str::to_owned)
}

/// What the kernel says about one received buffer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Received {
    /// Bytes in the slot.
    pub(crate) size: usize,
    /// Who sent it.
    pub(crate) from: Option<SocketAddr>,
    /// Whether there was more than the slot holds.
    pub(crate) truncated: bool,
    /// Bytes of each datagram in it, of which the last may have fewer; zero when it is one.
    pub(crate) segment: usize,
}

/// Room for one control message with a number.
type Control = [u64; 3];

/// Receives into as many slots of `slot` bytes as there are, without waiting; returns how many were filled.
pub(crate) fn receive_batch(
    socket: BorrowedFd<'_>,
    slots: &mut [u8],
    slot: usize,
    received: &mut [Received],
) -> io::Result<usize> {
    // SAFETY: all of these are plain numbers and pointers, for which zero is a value.
    let mut heads: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut slices: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
    // SAFETY: as above; all that is read of it is what the kernel wrote.
    let mut names: [libc::sockaddr_in6; BATCH] = unsafe { mem::zeroed() };
    let mut controls: [Control; BATCH] = [[0; 3]; BATCH];
    let mut wanted = 0;
    let parts = slots.chunks_exact_mut(slot).take(received.len());
    for ((((head, slice), name), control), bytes) in
        heads.iter_mut().zip(&mut slices).zip(&mut names).zip(&mut controls).zip(parts)
    {
        slice.iov_base = bytes.as_mut_ptr().cast();
        slice.iov_len = bytes.len();
        head.msg_hdr.msg_iov = slice;
        head.msg_hdr.msg_iovlen = 1;
        head.msg_hdr.msg_name = ptr::from_mut(name).cast();
        head.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
        head.msg_hdr.msg_control = ptr::from_mut(control).cast();
        head.msg_hdr.msg_controllen = size_of::<Control>() as _;
        wanted += 1;
    }
    // SAFETY: the first `wanted` heads point to slices, names and controls of their own in this frame, and the slices to
    // parts of `slots` that do not overlap; all live through the call.
    let count = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            heads.as_mut_ptr(),
            wanted,
            libc::MSG_DONTWAIT as _,
            ptr::null_mut(),
        )
    };
    let Ok(count) = usize::try_from(count) else {
        return Err(io::Error::last_os_error());
    };
    for ((head, name), out) in heads.iter().zip(&names).take(count).zip(received) {
        *out = Received {
            size: (head.msg_len as usize).min(slot),
            from: socket_address(name, head.msg_hdr.msg_namelen),
            truncated: head.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            segment: segment_size(&head.msg_hdr),
        };
    }
    Ok(count)
}

fn socket_address(name: &libc::sockaddr_in6, size: libc::socklen_t) -> Option<SocketAddr> {
    // The kernel tells the size of the whole address, also where it had no room for it.
    if size as usize > size_of_val(name) {
        return None;
    }
    // SAFETY: `size` bytes are copied, and no more than `name` has.
    let address = unsafe { SockaddrStorage::from_raw(ptr::from_ref(name).cast(), Some(size)) }?;
    internet_address(&address)
}

fn segment_size(head: &libc::msghdr) -> usize {
    // SAFETY: the kernel has filled `head`, whose control buffer lives in the caller's frame and is aligned for a head.
    let Some(control) = (unsafe { libc::CMSG_FIRSTHDR(head).as_ref() }) else {
        return 0;
    };
    if (control.cmsg_level, control.cmsg_type) != (libc::IPPROTO_UDP, UDP_GRO) {
        return 0;
    }
    // SAFETY: this option's payload is an `int` behind the head, within the room for one.
    let size = unsafe { libc::CMSG_DATA(control).cast::<c_int>().read_unaligned() };
    usize::try_from(size).unwrap_or(0)
}

/// Sends datagrams without waiting, each of two parts; returns how many the kernel took.
///
/// With `segment`, those of one size are handed over together, and the kernel takes them apart.
pub(crate) fn send_batch(
    socket: BorrowedFd<'_>,
    datagrams: &[[&[u8]; PARTS]],
    segment: bool,
) -> io::Result<usize> {
    // SAFETY: all of these are plain numbers and pointers, for which zero is a value.
    let mut heads: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut slices: [libc::iovec; BATCH * PARTS] = unsafe { mem::zeroed() };
    let mut controls: [Control; BATCH] = [[0; 3]; BATCH];
    // How many datagrams each head stands for.
    let mut counts = [0_usize; BATCH];

    let mut rest = datagrams.get(..BATCH).unwrap_or(datagrams);
    let mut slices_left = slices.as_mut_slice();
    let mut wanted = 0;
    for ((head, control), count) in heads.iter_mut().zip(&mut controls).zip(&mut counts) {
        let together = if segment { equal_run(rest) } else { rest.len().min(1) };
        let (now, later) = rest.split_at(together);
        let Some(first) = now.first() else { break };
        let (mine, others) = mem::take(&mut slices_left).split_at_mut(together * PARTS);
        (rest, slices_left) = (later, others);
        for (slice, part) in mine.iter_mut().zip(now.iter().flatten()) {
            slice.iov_base = part.as_ptr().cast_mut().cast();
            slice.iov_len = part.len();
        }
        head.msg_hdr.msg_iov = mine.as_mut_ptr();
        head.msg_hdr.msg_iovlen = mine.len() as _;
        if together > 1 {
            set_segment_size(&mut head.msg_hdr, control, bytes_in(first));
        }
        *count = together;
        wanted += 1;
    }
    // SAFETY: the first `wanted` heads point to slices and controls of their own in this frame, and the slices to parts of
    // `datagrams`, which are only read; all live through the call.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            heads.as_mut_ptr(),
            wanted,
            (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
        )
    };
    match usize::try_from(sent) {
        Ok(sent) => Ok(counts.iter().take(sent).sum()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// How many datagrams from the first on may go as segments of one buffer: all of one size, but the last may be smaller.
fn equal_run(datagrams: &[[&[u8]; PARTS]]) -> usize {
    let Some(size) = datagrams.first().map(bytes_in) else {
        return 0;
    };
    let (mut count, mut total) = (0, 0);
    for next in datagrams.iter().map(bytes_in).take(MAX_SEGMENTS) {
        if count > 0 && (next > size || next == 0 || total + next > MAX_SEGMENTED) {
            break;
        }
        count += 1;
        total += next;
        if next < size {
            break;
        }
    }
    count
}

fn bytes_in(datagram: &[&[u8]; PARTS]) -> usize {
    datagram.iter().map(|part| part.len()).sum()
}

fn set_segment_size(head: &mut libc::msghdr, control: &mut Control, size: usize) {
    let size = u16::try_from(size).unwrap_or(u16::MAX);
    head.msg_control = ptr::from_mut(control).cast();
    // SAFETY: these only compute with numbers.
    let (space, length) = unsafe { (libc::CMSG_SPACE(2), libc::CMSG_LEN(2)) };
    head.msg_controllen = space as _;
    // SAFETY: the control buffer has room for a head and a number behind it (checked below), is aligned for a head, and is
    // borrowed mutably here.
    unsafe {
        const { assert!(size_of::<Control>() >= size_of::<libc::cmsghdr>() + 8) };
        let first = libc::CMSG_FIRSTHDR(head);
        (*first).cmsg_level = libc::SOL_UDP;
        (*first).cmsg_type = UDP_SEGMENT;
        (*first).cmsg_len = length as _;
        libc::CMSG_DATA(first).cast::<u16>().write_unaligned(size);
    }
}

/// Takes the lock of an open file for itself, until its last descriptor is closed; fails where somebody has it.
pub(crate) fn try_lock(file: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open for the call; no memory is passed.
    match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
