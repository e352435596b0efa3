//! UNIX stream sockets.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{AddressFamily, UnixAddr, getsockopt, sockopt};

use crate::{Deadline, Error, Stream, socket};

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

/// Connects to the socket at `path`, waiting while its queue is full.
///
/// # Errors
///
/// [`Error::Io`] with the path, [`Error::TimedOut`].
pub fn connect_before(path: &Path, deadline: Deadline) -> Result<Stream, Error> {
    const STEP: &str = "connecting to";
    let peer = path.display().to_string();
    let open = || {
        let socket = socket::stream(AddressFamily::Unix)?;
        socket::connect_before(&socket, &UnixAddr::new(path)?, deadline)?;
        io::Result::Ok(socket)
    };
    match open() {
        Ok(socket) => Stream::new(socket, peer),
        Err(e) if e.kind() == io::ErrorKind::TimedOut => Err(Error::TimedOut { step: STEP, peer }),
        Err(source) => Err(Error::Io { step: STEP, peer, source }),
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

    /// Makes the socket in place of one that a killed process left.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] with the path: "address in use" when somebody listens there, or it is no socket.
    pub fn bind_replacing(path: &Path) -> Result<Self, Error> {
        match Self::bind(path) {
            Err(Error::Io { source, .. })
                if source.kind() == io::ErrorKind::AddrInUse && is_stale(path) =>
            {
                std::fs::remove_file(path).map_err(|source| Error::Io {
                    step: "removing",
                    peer: path.display().to_string(),
                    source,
                })?;
                Self::bind(path)
            }
            result => result,
        }
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
            Err(e) if socket::nobody_waits(&e) => return Ok(None),
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

/// Whether a socket is there and nobody behind it.
fn is_stale(path: &Path) -> bool {
    let is_socket = path.symlink_metadata().is_ok_and(|it| it.file_type().is_socket());
    // One whose queue is full has a process behind it: nothing to wait for.
    let answer = connect_before(path, Deadline::after(Duration::ZERO));
    let refused = |error: &Error| matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused);
    is_socket && answer.is_err_and(|error| refused(&error))
}
