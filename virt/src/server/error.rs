//! Why a server cannot start or go on.

use std::io;
use std::path::{Path, PathBuf};

use crate::setup::SetupError;

/// Why the server could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Another server owns the directory.
    #[error("another virt-server owns {}", path.display())]
    AlreadyRunning {
        /// The directory.
        path: PathBuf,
    },
    /// The directory cannot be used.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A socket cannot be made.
    #[error(transparent)]
    Socket(#[from] trace_transport::Error),
    /// The system refused.
    #[error("{action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

pub(super) fn failed(action: &'static str, path: &Path, source: io::Error) -> ServerError {
    ServerError::Io { action, path: path.to_owned(), source }
}
