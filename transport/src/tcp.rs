//! Plain TCP.

use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::{io, time::Duration};

use crate::{Deadline, Error, Stream};

/// Connects to `host:port`, trying each address the name has.
///
/// # Errors
///
/// [`Error::Io`] with the last address's answer, or [`Error::TimedOut`].
pub fn connect(address: &str, deadline: Deadline) -> Result<Stream, Error> {
    const STEP: &str = "connecting to";
    let failed = |source| Error::Io { step: STEP, peer: address.to_owned(), source };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for socket_address in address.to_socket_addrs().map_err(failed)? {
        let attempt = match deadline.remaining() {
            Some(Duration::ZERO) => {
                return Err(Error::TimedOut { step: STEP, peer: address.to_owned() });
            }
            Some(left) => TcpStream::connect_timeout(&socket_address, left),
            None => TcpStream::connect(socket_address),
        };
        match attempt {
            Ok(socket) => return stream(socket, address.to_owned()),
            Err(e) if e.kind() == io::ErrorKind::TimedOut && deadline.has_passed() => {
                return Err(Error::TimedOut { step: STEP, peer: address.to_owned() });
            }
            Err(e) => last = e,
        }
    }
    Err(failed(last))
}

/// A listening TCP socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on `host:port`; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] with the address.
    pub fn bind(address: &str) -> Result<Self, Error> {
        let failed = |source| Error::Io { step: "listening on", peer: address.to_owned(), source };
        let socket = TcpListener::bind(address).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next waiting connection, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] with the address.
    pub fn accept(&self) -> Result<Option<(Stream, SocketAddr)>, Error> {
        match self.socket.accept() {
            Ok((socket, from)) => Ok(Some((stream(socket, from.to_string())?, from))),
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted
                ) =>
            {
                Ok(None)
            }
            Err(source) => {
                Err(Error::Io { step: "accepting on", peer: self.address.to_string(), source })
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn stream(socket: TcpStream, peer: String) -> Result<Stream, Error> {
    // Control messages are small and answered one by one: waiting to fill a segment would only add latency.
    if let Err(source) = socket.set_nodelay(true) {
        return Err(Error::Io { step: "preparing", peer, source });
    }
    Stream::new(socket.into(), peer)
}
