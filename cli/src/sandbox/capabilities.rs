//! Capabilities: root's single rights.

use std::path::{Path, PathBuf};

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};

/// Gives up all capabilities but those of `kept`, and what `directories` cannot be written without:
/// root may have been told a directory of somebody else.
pub(super) fn keep(kept: &[Capability], directories: &[PathBuf]) -> Result<(), String> {
    give_up(kept, directories).map_err(|error| format!("capabilities are not given up: {error}"))
}

fn give_up(kept: &[Capability], directories: &[PathBuf]) -> Result<(), CapsError> {
    let had = caps::read(None, CapSet::Permitted)?;
    if had.contains(&Capability::CAP_SETPCAP) {
        caps::clear(None, CapSet::Bounding)?;
    }
    caps::clear(None, CapSet::Inheritable)?;
    let mut left: CapsHashSet = kept.iter().copied().filter(|one| had.contains(one)).collect();
    caps::set(None, CapSet::Effective, &left)?;
    let override_access = Capability::CAP_DAC_OVERRIDE;
    if had.contains(&override_access) && !directories.iter().all(|path| is_writable(path)) {
        left.insert(override_access);
        caps::set(None, CapSet::Effective, &left)?;
    }
    caps::set(None, CapSet::Permitted, &left)
}

fn is_writable(directory: &Path) -> bool {
    let access = AccessFlags::W_OK | AccessFlags::X_OK;
    faccessat(AT_FDCWD, directory, access, AtFlags::AT_EACCESS).is_ok()
}
