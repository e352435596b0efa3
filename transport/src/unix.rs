//! UNIX stream sockets.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::{getsockopt, sockopt};

use crate::{Error, Stream};

/// The process at the other end of a UNIX socket, as the kernel saw it when it connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerProcess {
    /// Its process id.
    pub pid: i32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

/// Connects to the socket at `path`. A UNIX socket answers at once, so there is no deadline.
///
/// # Errors
///
/// [`Error::Io`] with the path.
pub fn connect(path: &Path) -> Result<Stream, Error> {
    let peer = path.display().to_string();
    match UnixStream::connect(path) {
        Ok(socket) => Stream::new(socket.into(), peer),
        Err(source) => Err(Error::Io { step: "connecting to", peer, source }),
    }
}

/// A socket at a path, which is removed when this is dropped.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Makes the socket. The path must be free.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] with the path.
    pub fn bind(path: &Path) -> Result<Self, Error> {
        let failed =
            |source| Error::Io { step: "listening on", peer: path.display().to_string(), source };
        let socket = UnixListener::bind(path).map_err(failed)?;
        let listener = Self { socket, path: path.to_owned() };
        listener.socket.set_nonblocking(true).map_err(failed)?;
        Ok(listener)
    }

    /// The next waiting connection, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] with the path.
    pub fn accept(&self) -> Result<Option<(Stream, PeerProcess)>, Error> {
        let failed = |source| Error::Io {
            step: "accepting on",
            peer: self.path.display().to_string(),
            source,
        };
        let socket = match self.socket.accept() {
            Ok((socket, _)) => socket,
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted
                ) =>
            {
                return Ok(None);
            }
            Err(source) => return Err(failed(source)),
        };
        let peer =
            getsockopt(&socket, sockopt::PeerCredentials).map_err(|errno| failed(errno.into()))?;
        let process = PeerProcess { pid: peer.pid(), uid: peer.uid(), gid: peer.gid() };
        Ok(Some((Stream::new(socket.into(), format!("process {}", process.pid))?, process)))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and the next server replaces a stale socket.
        let _ = std::fs::remove_file(&self.path);
    }
}
