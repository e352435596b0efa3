//! Datagrams in batches, with what the kernel dropped of them.
//!
//! UDP keeps the bounds of what is sent, but neither its order nor all of it. A [`Sender`] hands many datagrams over in
//! one call, as one buffer where the kernel can take it apart; a [`Receiver`] fills the slots of a [`Slab`], which is
//! made once and may serve any number of receivers in turn.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, getsockname, getsockopt,
    setsockopt, socket, sockopt,
};

use crate::socket::internet_address;
use crate::sys::{self, Received};
use crate::{Deadline, Error};

/// The most bytes that fit into a datagram, over IPv4.
pub const MAX_DATAGRAM: usize = 65_507;

/// Bytes of a slot: as much as the kernel ever hands over at once.
const SLOT: usize = 64 << 10;

const CONNECTING: &str = "connecting to";
const LISTENING: &str = "listening on";
const SENDING: &str = "sending to";
const RECEIVING: &str = "receiving on";

/// Room for a batch of datagrams. Pages that no datagram has reached take no memory.
#[derive(Debug)]
pub struct Slab {
    bytes: Box<[u8]>,
    received: [Received; sys::BATCH],
}

impl Slab {
    /// An empty slab of 64 slots of 64 KiB.
    #[must_use]
    pub fn new() -> Self {
        let bytes = vec![0; SLOT * sys::BATCH].into_boxed_slice();
        Self { bytes, received: [Received::default(); sys::BATCH] }
    }
}

impl Default for Slab {
    fn default() -> Self {
        Self::new()
    }
}

/// One datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who sent it, as far as the network tells: an address can be forged. An IPv4 address is one, also where an IPv6
    /// socket took it.
    pub from: SocketAddr,
    /// What is in it.
    pub bytes: &'a [u8],
    /// Whether its end is missing.
    pub truncated: bool,
}

/// What one call brought.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    bytes: &'a [u8],
    received: &'a [Received],
}

impl<'a> Batch<'a> {
    /// Whether nothing was there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// The datagrams, in the order in which they came.
    pub fn datagrams(&self) -> impl Iterator<Item = Datagram<'a>> + use<'a> {
        self.bytes.as_chunks::<SLOT>().0.iter().zip(self.received).flat_map(|(slot, received)| {
            let bytes = slot.get(..received.size).unwrap_or_default();
            let segment = if received.segment == 0 { SLOT } else { received.segment };
            // An empty datagram is one too.
            let empty = bytes.is_empty().then_some(bytes);
            let pieces = bytes.chunks(segment).chain(empty);
            let truncated = received.truncated;
            let from = received.from;
            pieces.filter_map(move |bytes| Some(Datagram { from: from?, bytes, truncated }))
        })
    }
}

/// The receiving end.
#[derive(Debug)]
pub struct Receiver {
    socket: OwnedFd,
    address: SocketAddr,
    buffer: usize,
}

impl Receiver {
    /// Listens on an address, port 0 takes a free one, with a kernel buffer of `buffer` bytes if it can be had:
    /// [`buffer`](Self::buffer) says what was.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] with the address.
    pub fn bind(address: SocketAddr, buffer: usize) -> Result<Self, Error> {
        let open = || {
            let socket = open(&address)?;
            let buffer = grow_receive_buffer(&socket, buffer)?;
            bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
            let bound = own_address(&socket)?;
            io::Result::Ok(Self { socket, address: bound, buffer })
        };
        open().map_err(|source| failed(LISTENING, &address, source))
    }

    /// Has datagrams of one sender handed over together, which costs far less; [`dropped`](Self::dropped) then counts
    /// what was handed over, not datagrams. For senders that number their datagrams.
    ///
    /// # Errors
    ///
    /// What the system answered; then each comes alone.
    ///
    /// # Kernel support
    ///
    /// 5.0 and later.
    pub fn coalesce(&self) -> io::Result<()> {
        sys::set_coalescing(self.socket.as_fd())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that the kernel holds for it, its own overhead included.
    ///
    /// An ordinary user gets no more than the system's `net.core.rmem_max`.
    #[must_use]
    pub fn buffer(&self) -> usize {
        self.buffer
    }

    /// Datagrams that found the buffer full, since it was opened; wraps.
    ///
    /// # Errors
    ///
    /// What the system answered.
    ///
    /// # Kernel support
    ///
    /// 4.12 and later.
    pub fn dropped(&self) -> io::Result<u32> {
        sys::dropped(self.socket.as_fd())
    }

    /// From now on takes only what comes from this address. What waits already is not sorted out: see
    /// [`Datagram::from`].
    ///
    /// # Errors
    ///
    /// [`Error::Io`] with the address.
    pub fn accept_only(&self, from: SocketAddr) -> Result<(), Error> {
        // An IPv6 socket knows IPv4 addresses by another form.
        let in_form = match from {
            SocketAddr::V4(v4) if self.address.is_ipv6() => {
                SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
            }
            _ => from,
        };
        connect(self.socket.as_raw_fd(), &SockaddrStorage::from(in_form))
            .map_err(|errno| failed(CONNECTING, &from, errno.into()))
    }

    /// Takes what is there, up to 64 buffers of up to 64 KiB, without waiting and without allocating.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] with the address.
    pub fn receive<'a>(&self, slab: &'a mut Slab) -> Result<Batch<'a>, Error> {
        let Slab { bytes, received } = slab;
        let count = match sys::receive_batch(self.socket.as_fd(), bytes, SLOT, received) {
            Ok(count) => count,
            Err(e)
                if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
            {
                0
            }
            // The other end's machine says that its port is gone: nothing more comes.
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => 0,
            Err(source) => return Err(failed(RECEIVING, &self.address, source)),
        };
        Ok(Batch { bytes, received: received.get(..count).unwrap_or_default() })
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The sending end.
#[derive(Debug)]
pub struct Sender {
    socket: OwnedFd,
    to: SocketAddr,
    segmentation: bool,
}

impl Sender {
    /// Prepares to send to an address. Nothing is sent, and nobody need be there.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] with the address.
    pub fn connect(to: SocketAddr) -> Result<Self, Error> {
        let open = || {
            let socket = open(&to)?;
            connect(socket.as_raw_fd(), &SockaddrStorage::from(to))?;
            io::Result::Ok(socket)
        };
        let socket = open().map_err(|source| failed(CONNECTING, &to, source))?;
        Ok(Self { socket, to, segmentation: true })
    }

    /// Where it sends from.
    ///
    /// # Errors
    ///
    /// What the system answered.
    pub fn address(&self) -> io::Result<SocketAddr> {
        own_address(&self.socket)
    }

    /// Whether a datagram can have so many bytes; if not, only a stream will do.
    ///
    /// # Errors
    ///
    /// [`Error::Datagram`].
    pub fn check_size(&self, size: usize) -> Result<(), Error> {
        if size <= MAX_DATAGRAM {
            return Ok(());
        }
        Err(Error::Datagram { size, peer: self.to.to_string(), limit: MAX_DATAGRAM })
    }

    /// Sends datagrams, each of a head and a payload, waiting while the kernel has no room.
    ///
    /// That it returns means that the kernel took them, not that they arrived. What goes to a network that has no way
    /// there at the moment is lost as what is lost on the way.
    ///
    /// # Errors
    ///
    /// [`Error::Datagram`] for one too large, before any is sent; [`Error::Closed`] when the other machine answered that
    /// nobody listens; [`Error::TimedOut`], [`Error::Io`].
    pub fn send(&mut self, datagrams: &[[&[u8]; 2]], deadline: Deadline) -> Result<(), Error> {
        for [head, payload] in datagrams {
            self.check_size(head.len().saturating_add(payload.len()))?;
        }
        let mut rest = datagrams;
        let mut has_no_way = false;
        while !rest.is_empty() {
            match sys::send_batch(self.socket.as_fd(), rest, self.segmentation) {
                Ok(sent) => {
                    rest = rest.get(sent..).unwrap_or_default();
                    has_no_way = false;
                }
                // Larger than the network's packets, or a device that cannot: the kernel then takes them one by one.
                Err(e) if self.segmentation && cannot_segment(&e) => self.segmentation = false,
                Err(e) => match (e.kind(), e.raw_os_error()) {
                    (io::ErrorKind::Interrupted, _) => {}
                    (io::ErrorKind::WouldBlock, _) => self.wait(deadline)?,
                    // A device's queue is full, of which nothing tells the end.
                    (_, Some(libc::ENOBUFS)) if !deadline.has_passed() => {
                        std::thread::sleep(std::time::Duration::from_millis(1));
                    }
                    (_, Some(libc::ENOBUFS)) => return Err(self.timed_out()),
                    (io::ErrorKind::ConnectionRefused, _) => {
                        return Err(Error::Closed { step: SENDING, peer: self.to.to_string() });
                    }
                    // The first time it may be about datagrams before these.
                    _ if is_no_way(&e) && !has_no_way => has_no_way = true,
                    _ if is_no_way(&e) => return Ok(()),
                    _ => return Err(failed(SENDING, &self.to, e)),
                },
            }
        }
        Ok(())
    }

    fn wait(&self, deadline: Deadline) -> Result<(), Error> {
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut fds, deadline.poll_timeout()) {
            Ok(0) if deadline.has_passed() => Err(self.timed_out()),
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(errno) => Err(failed(SENDING, &self.to, errno.into())),
        }
    }

    fn timed_out(&self) -> Error {
        Error::TimedOut { step: SENDING, peer: self.to.to_string() }
    }
}

impl AsFd for Sender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn cannot_segment(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EIO | libc::EMSGSIZE | libc::EOPNOTSUPP)
    )
}

/// Whether the network is away, as while a cable is out or routes change.
fn is_no_way(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
    )
}

fn open(address: &SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(family, SockType::Datagram, flags, None)?)
}

/// Root may go beyond the system's limit.
fn grow_receive_buffer(socket: &OwnedFd, bytes: usize) -> io::Result<usize> {
    if setsockopt(socket, sockopt::RcvBufForce, &bytes).is_err() {
        setsockopt(socket, sockopt::RcvBuf, &bytes)?;
    }
    Ok(getsockopt(socket, sockopt::RcvBuf)?)
}

fn own_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    let address = getsockname::<SockaddrStorage>(socket.as_raw_fd())?;
    internet_address(&address).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

fn failed(step: &'static str, address: &SocketAddr, source: io::Error) -> Error {
    Error::Io { step, peer: format!("udp {address}"), source }
}
