//! The `virt-server` process.
use std::os::fd::BorrowedFd;

use crate::setup::{GuestName, VirtDir};

/// How the server runs.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Group of the sockets; with it, mode 0660, else 0600 for host tools (QEMU's socket always 0660).
    pub group: Option<String>,
}

/// Something worth a log line.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerEvent<'a> {
    /// QEMU of a guest connected.
    Connected(&'a GuestName),
}

/// Why the server could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Another server owns the directory.
    #[error("another virt-server answers on {}", path.display())]
    AlreadyRunning {
        /// Its socket.
        path: std::path::PathBuf,
    },
}

/// The process between the guests' QEMUs and host tools.
#[derive(Debug)]
pub struct Server {}

impl Server {
    /// Makes both sockets.
    pub fn bind(dir: &VirtDir, options: ServerOptions) -> Result<Self, ServerError> {
        let _ = (dir, options);
        unimplemented!()
    }
    /// Serves until `stop` becomes readable, then removes the sockets.
    pub fn run(
        self,
        stop: BorrowedFd<'_>,
        log: &mut dyn FnMut(ServerEvent<'_>),
    ) -> Result<(), ServerError> {
        let _ = (stop, log);
        unimplemented!()
    }
}
