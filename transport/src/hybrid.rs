//! Hybrid vsock: a guest's vsock ports behind UNIX sockets of its virtual machine monitor, as Firecracker, Cloud
//! Hypervisor and vhost-device-vsock have them.
//!
//! Towards the guest one connects to the monitor's socket and names the port. For a connection from the guest to its
//! host's port `P` the monitor connects to the socket `PATH_P`.

use std::path::{Path, PathBuf};

use crate::{Deadline, Error, Stream, unix};

const STEP: &str = "connecting to";
/// An answer is `OK` and a number; what is longer is none.
const MAX_ANSWER: usize = 64;

/// Connects to a port of the guest whose monitor has its socket at `path`.
///
/// # Errors
///
/// [`Error::Closed`] when nobody in the guest listens, [`Error::Handshake`] for an answer other than `OK`,
/// [`Error::TimedOut`], [`Error::Io`].
pub fn connect(path: &Path, port: u32, deadline: Deadline) -> Result<Stream, Error> {
    let mut stream = unix::connect_before(path, deadline)?;
    stream.set_peer(format!("unix:{}:{port}", path.display()));
    stream.write_all(format!("CONNECT {port}\n").as_bytes(), deadline)?;
    let mut answer = Vec::with_capacity(MAX_ANSWER);
    // Byte by byte: what comes behind the line is the guest's.
    while answer.last() != Some(&b'\n') && answer.len() < MAX_ANSWER {
        let mut byte = [0];
        if stream.read_some(&mut byte, deadline)? == 0 {
            return Err(stream.closed(STEP));
        }
        answer.extend(byte);
    }
    if answer.starts_with(b"OK ") && answer.ends_with(b"\n") {
        return Ok(stream);
    }
    Err(Error::Handshake {
        step: STEP,
        peer: stream.peer().to_owned(),
        answer: String::from_utf8_lossy(&answer).trim_end().to_owned(),
    })
}

/// The socket to listen on for connections from the guest to `port` of its host.
#[must_use]
pub fn listening_path(path: &Path, port: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!("_{port}"));
    name.into()
}
