//! What sockets of all families have in common.

use std::io;
use std::net::{SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, connect, getsockname,
    getsockopt, setsockopt, socket, sockopt,
};

use crate::Deadline;

/// A stream socket that never waits.
pub(crate) fn stream(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(family, SockType::Stream, flags, None)?)
}

/// Connects a socket that never waits; `TimedOut` at the deadline.
pub(crate) fn connect_before(
    socket: &OwnedFd,
    address: &dyn SockaddrLike,
    deadline: Deadline,
) -> io::Result<()> {
    loop {
        match connect(socket.as_raw_fd(), address) {
            Ok(()) | Err(nix::Error::EISCONN) => return Ok(()),
            Err(nix::Error::EINPROGRESS | nix::Error::EALREADY | nix::Error::EINTR) => break,
            // A UNIX socket whose queue is full says so instead of going on behind our back.
            Err(nix::Error::EAGAIN) if !deadline.has_passed() => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            Err(nix::Error::EAGAIN) => return Err(io::ErrorKind::TimedOut.into()),
            Err(errno) => return Err(errno.into()),
        }
    }
    loop {
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut fds, deadline.poll_timeout()) {
            Ok(0) if deadline.has_passed() => return Err(io::ErrorKind::TimedOut.into()),
            Ok(0) | Err(nix::Error::EINTR) => {}
            Ok(_) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    match getsockopt(socket, sockopt::SocketError)? {
        0 => Ok(()),
        raw => Err(io::Error::from_raw_os_error(raw)),
    }
}

/// An Internet address out of what the kernel wrote; an IPv4 address is one, also where an IPv6 socket was asked.
pub(crate) fn internet_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::V4((*v4).into()));
    }
    let v6 = SocketAddrV6::from(*address.as_sockaddr_in6()?);
    Some(match v6.ip().to_ipv4_mapped() {
        Some(v4) => SocketAddr::new(v4.into(), v6.port()),
        None => SocketAddr::V6(v6),
    })
}

/// Whether pages of this socket go to and from pipes.
///
/// Not on vsock: the kernel sends each page as a packet of its own there, and counts the packets' heads against the
/// receiver's room.
pub(crate) fn splices(socket: &OwnedFd) -> bool {
    let family = getsockname::<SockaddrStorage>(socket.as_raw_fd()).ok().and_then(|it| it.family());
    matches!(family, Some(AddressFamily::Inet | AddressFamily::Inet6 | AddressFamily::Unix))
}

/// Room for so many bytes that wait to be sent, or as many as an ordinary user may have.
pub(crate) fn grow_send_buffer(socket: &OwnedFd, bytes: usize) -> io::Result<()> {
    if setsockopt(socket, sockopt::SndBufForce, &bytes).is_err() {
        setsockopt(socket, sockopt::SndBuf, &bytes)?;
    }
    Ok(())
}

/// Whether `accept` said that nobody is there, or no longer.
pub(crate) fn nobody_waits(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
    matches!(error.kind(), WouldBlock | ConnectionAborted | Interrupted)
}
