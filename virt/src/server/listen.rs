//! The server's sockets: mode, group, and what a killed server left.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use trace_transport::unix;

use super::error::{ServerError, failed};
use crate::setup::{SetupError, find_group};

pub(super) fn listen(
    path: &Path,
    mode: u32,
    group: Option<&str>,
) -> Result<unix::Listener, ServerError> {
    // The directory is locked by now, so a socket that is still there belongs to nobody.
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => {
            fs::remove_file(path).map_err(|e| failed("removing", path, e))?;
        }
        Ok(_) => return Err(SetupError::Kind { path: path.to_owned(), expected: "socket" }.into()),
        Err(_) => {}
    }
    let listener = unix::Listener::bind(path)?;
    if let Some(group) = group {
        let gid = find_group(group)?;
        std::os::unix::fs::lchown(path, None, Some(gid.as_raw()))
            .map_err(|e| failed("changing the group of", path, e))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|e| failed("changing the mode of", path, e))?;
    Ok(listener)
}
