//! Waiting for connections, whatever they come over.

use std::os::fd::{AsFd, BorrowedFd};

use crate::{Address, Error, Peer, Stream, hybrid, tcp, unix, vsock};

/// A listening socket of any kind. It never waits: poll its descriptor.
///
/// ```
/// use std::time::Duration;
/// use trace_transport::{Deadline, Interest, Listener};
///
/// let listener = Listener::bind(&"127.0.0.1:0".parse()?)?;
/// let soon = Deadline::after(Duration::from_secs(5));
/// let near = listener.address().connect(soon)?;
/// let (far, peer) = loop {
///     if let Some(accepted) = listener.accept()? {
///         break accepted;
///     }
/// };
/// assert_eq!(far.peer(), peer.to_string());
/// # drop(near);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: Address,
}

#[derive(Debug)]
enum Socket {
    Tcp(tcp::Listener),
    Vsock(vsock::Listener),
    Unix(unix::Listener),
}

impl Listener {
    /// Listens. A UNIX socket that nobody answers any more is replaced; of hybrid vsock it is `PATH_PORT`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] with the address, [`Error::Unsupported`] where the kernel has no vsock, [`Error::Kind`] for the
    /// path of a port, on which nobody can listen.
    pub fn bind(address: &Address) -> Result<Self, Error> {
        let mut address = address.clone();
        let socket = match &mut address {
            Address::Tcp { host, port } => {
                let socket = tcp::Listener::bind(host, *port)?;
                *port = socket.address().port();
                *host = socket.address().ip().to_string();
                Socket::Tcp(socket)
            }
            Address::Vsock { cid, port } => {
                let socket = vsock::Listener::bind(*cid, *port)?;
                *port = socket.port();
                Socket::Vsock(socket)
            }
            Address::Unix(path) => Socket::Unix(unix::Listener::bind_replacing(path)?),
            Address::Hybrid { path, port } => {
                let path = hybrid::listening_path(path, *port);
                Socket::Unix(unix::Listener::bind_replacing(&path)?)
            }
            Address::Path(path) => {
                let expected = "a socket's address, to listen on";
                return Err(Error::Kind { path: path.display().to_string(), expected });
            }
        };
        Ok(Self { socket, address })
    }

    /// Where it listens, in numbers and with the port that was taken.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The next waiting connection, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] with the address, as when there are no more descriptors: then the connection still waits, so a
    /// caller that polls must let some time pass.
    pub fn accept(&self) -> Result<Option<(Stream, Peer)>, Error> {
        let accepted = match &self.socket {
            Socket::Tcp(socket) => socket.accept()?.map(|(it, from)| (it, Peer::tcp(from))),
            Socket::Vsock(socket) => socket.accept()?,
            Socket::Unix(socket) => socket.accept()?.map(|(it, from)| (it, Peer::Unix(from))),
        };
        Ok(accepted.map(|(mut stream, peer)| {
            stream.set_peer(peer.to_string());
            (stream, peer)
        }))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Vsock(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
        }
    }
}
