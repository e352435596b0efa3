//! Directories and FIFOs with mode and group.

use std::fs::{self, DirEntry, File, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Group};

use super::{DATA_PORTS, SetupError, SetupReport};

/// The group with this name or number.
pub(crate) fn find_group(group: &str) -> Result<Gid, SetupError> {
    if let Ok(Some(found)) = Group::from_name(group) {
        return Ok(found.gid);
    }
    group.parse().map(Gid::from_raw).map_err(|_| SetupError::Group { group: group.to_owned() })
}

/// What a CPU's FIFOs are called here, without direction: the name that has one to read.
pub(super) fn data_name(dir: &Path, cpu: u32) -> Option<String> {
    DATA_PORTS.iter().map(|port| format!("{port}{cpu}")).find(|name| {
        let path = dir.join(format!("{name}.out"));
        fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_fifo())
    })
}

pub(super) fn is_data_fifo(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let is_ours = || {
        let name = name.to_str()?;
        let number = DATA_PORTS.iter().find_map(|port| name.strip_prefix(port))?;
        let number = number.strip_suffix(".in").or_else(|| number.strip_suffix(".out"))?;
        number.parse::<u32>().ok()
    };
    entry.file_type().is_ok_and(|kind| kind.is_fifo()) && is_ours().is_some()
}

/// Whether a process has it open for reading, as QEMU has both of a pair.
pub(crate) fn is_open(path: &Path) -> bool {
    let nobody_waits = OFlag::O_NONBLOCK.bits();
    File::options().write(true).custom_flags(nobody_waits).open(path).is_ok()
}

pub(super) fn make_dir(
    path: &Path,
    mode: u32,
    mode_given: bool,
    group: Option<Gid>,
    report: &mut SetupReport,
) -> Result<(), SetupError> {
    let created = match fs::create_dir(path) {
        Ok(()) => true,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
        Err(e) => return Err(SetupError::io("creating", path, e)),
    };
    let meta = fs::symlink_metadata(path).map_err(|e| SetupError::io("looking at", path, e))?;
    if !meta.is_dir() {
        return Err(SetupError::Kind { path: path.to_owned(), expected: "directory" });
    }
    finish(path, mode, created || mode_given, group)?;
    note(path, created, report);
    Ok(())
}

pub(super) fn make_fifo(
    path: &Path,
    mode: Mode,
    mode_given: bool,
    group: Option<Gid>,
    report: &mut SetupReport,
) -> Result<(), SetupError> {
    let created = match nix::unistd::mkfifo(path, mode) {
        Ok(()) => true,
        Err(nix::Error::EEXIST) => false,
        Err(errno) => return Err(SetupError::io("creating", path, errno)),
    };
    let meta = fs::symlink_metadata(path).map_err(|e| SetupError::io("looking at", path, e))?;
    if !meta.file_type().is_fifo() {
        return Err(SetupError::Kind { path: path.to_owned(), expected: "FIFO" });
    }
    finish(path, mode.bits(), created || mode_given, group)?;
    note(path, created, report);
    Ok(())
}

/// Group before mode: a change of group can clear bits.
fn finish(path: &Path, mode: u32, set_mode: bool, group: Option<Gid>) -> Result<(), SetupError> {
    if let Some(group) = group {
        std::os::unix::fs::lchown(path, None, Some(group.as_raw()))
            .map_err(|e| SetupError::io("changing the group of", path, e))?;
    }
    if set_mode {
        // Set again because the umask took its part when the file was made.
        fs::set_permissions(path, Permissions::from_mode(mode))
            .map_err(|e| SetupError::io("changing the mode of", path, e))?;
    }
    Ok(())
}

fn note(path: &Path, created: bool, report: &mut SetupReport) {
    let list = if created { &mut report.created } else { &mut report.existing };
    list.push(path.to_owned());
}
