//! Sockets between a virtual machine and its host.
//!
//! Data goes in large writes ([`FRAME`]): newer kernels count each packet's head against the receiver's room, so that
//! many small ones end in a reset. Hence also no [splicing](Stream::can_splice) here, which sends page by page.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, VsockAddr, bind, getpeername, getsockname, listen,
};

use crate::{Deadline, Error, Peer, Stream, socket, sys};

/// Any machine, to listen.
pub const CID_ANY: u32 = u32::MAX;
/// This machine itself.
pub const CID_LOCAL: u32 = 1;
/// The host of this machine.
pub const CID_HOST: u32 = 2;

/// Bytes that data is best written in at once: the largest packet of the virtio transport.
pub const FRAME: usize = 64 << 10;

/// Room for data that the receiver has not yet taken.
const BUFFER: u64 = 1 << 20;

const CONNECTING: &str = "connecting to";
const LISTENING: &str = "listening on";

/// Connects to a port of another machine.
///
/// # Errors
///
/// [`Error::Unsupported`] where the kernel has no vsock, or no way to that machine; [`Error::Closed`] when nobody listens
/// there; [`Error::TimedOut`], [`Error::Io`].
pub fn connect(cid: u32, port: u32, deadline: Deadline) -> Result<Stream, Error> {
    let failed = |source| failed(CONNECTING, cid, port, source);
    let socket = open().map_err(failed)?;
    socket::connect_before(&socket, &VsockAddr::new(cid, port), deadline).map_err(failed)?;
    Stream::new(socket, format!("vsock:{cid}:{port}"))
}

/// A listening vsock socket.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    cid: u32,
    port: u32,
}

impl Listener {
    /// Listens on a port; [`CID_ANY`] takes connections from everywhere, port [`u32::MAX`] a free port.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] where the kernel has no vsock, [`Error::Io`].
    pub fn bind(cid: u32, port: u32) -> Result<Self, Error> {
        let open = || {
            let socket = open()?;
            bind(socket.as_raw_fd(), &VsockAddr::new(cid, port))?;
            listen(&socket, Backlog::MAXCONN)?;
            let port = getsockname::<VsockAddr>(socket.as_raw_fd())?.port();
            io::Result::Ok(Self { socket, cid, port })
        };
        open().map_err(|source| failed(LISTENING, cid, port, source))
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.port
    }

    /// The next waiting connection, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn accept(&self) -> Result<Option<(Stream, Peer)>, Error> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = match sys::accept(self.socket.as_fd(), flags) {
            Ok(socket) => socket,
            Err(e) if socket::nobody_waits(&e) => return Ok(None),
            Err(source) => return Err(failed("accepting on", self.cid, self.port, source)),
        };
        // One that has gone already has no peer.
        let Ok(from) = getpeername::<VsockAddr>(socket.as_raw_fd()) else {
            return Ok(None);
        };
        let peer = Peer::Vsock { cid: from.cid(), port: from.port() };
        Ok(Some((Stream::new(socket, peer.to_string())?, peer)))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn open() -> io::Result<OwnedFd> {
    let socket = socket::stream(AddressFamily::Vsock)?;
    sys::set_vsock_buffer(socket.as_fd(), BUFFER)?;
    Ok(socket)
}

fn failed(step: &'static str, cid: u32, port: u32, source: io::Error) -> Error {
    let cid_text = if cid == CID_ANY { "any".to_owned() } else { cid.to_string() };
    let peer = format!("vsock:{cid_text}:{port}");
    let missing = match source.raw_os_error() {
        Some(libc::EAFNOSUPPORT) => "this kernel has no vsock loaded (modprobe vsock)",
        Some(libc::ENODEV | libc::EADDRNOTAVAIL) if step != LISTENING => match cid {
            CID_LOCAL => "no loopback (modprobe vsock_loopback)",
            CID_HOST => {
                "no way to a host (modprobe vmw_vsock_virtio_transport, in a virtual machine with a vsock device)"
            }
            _ => "no way to virtual machines (modprobe vhost_vsock)",
        },
        _ => match source.kind() {
            io::ErrorKind::TimedOut => return Error::TimedOut { step, peer },
            // Its way of saying that nobody listens.
            io::ErrorKind::ConnectionReset => return Error::Closed { step, peer },
            _ => return Error::Io { step, peer, source },
        },
    };
    Error::Unsupported { step, peer, missing, source }
}
