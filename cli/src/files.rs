//! Opening files by a name under which somebody else may have put something.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::unistd::geteuid;

/// Who but its owner may write to a directory.
const OTHERS_WRITE: u32 = 0o022;

/// Opens a file whose name this run has not been told by its user: what is there under it must be a
/// plain file. No link is followed, and no pipe waited for.
///
/// # Errors
/// What the system says, or what is there instead of a plain file.
pub(crate) fn open_plain(options: &OpenOptions, path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let opened = options.clone().custom_flags(flags).open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => io::Error::other("there is a link of that name"),
        _ => error,
    })?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("what has that name is no plain file"))
    }
}

/// Opens a log to add to its end.
///
/// # Errors
/// As [`refuse_planted`], or what the system says.
pub(crate) fn open_log(path: &Path) -> io::Result<File> {
    refuse_planted(path)?;
    File::options().create(true).append(true).open(path)
}

/// Refuses a link that a stranger put in the way: in a directory where others may write, it belongs to
/// neither root, nor this user, nor the directory's owner. Kernels do so too, if told to, in some
/// directories.
///
/// # Errors
/// With the owner of the link.
pub(crate) fn refuse_planted(path: &Path) -> io::Result<()> {
    let Ok(link) = fs::symlink_metadata(path) else { return Ok(()) };
    if !link.is_symlink() {
        return Ok(());
    }
    let directory = fs::metadata(directory_of(path))?;
    let trusted = [0, geteuid().as_raw(), directory.uid()];
    if directory.mode() & OTHERS_WRITE == 0 || trusted.contains(&link.uid()) {
        return Ok(());
    }
    let owner = link.uid();
    Err(io::Error::other(format!("it is a link that user {owner} made where others may write")))
}

/// The directory that a file of this name is in.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};

    use super::*;

    #[test]
    fn only_plain_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let options = || {
            let mut options = File::options();
            options.create(true).append(true);
            options
        };
        let open = |name: &str| open_plain(&options(), &at(name));
        open("new").unwrap().write_all(b"one").unwrap();
        open("new").unwrap().write_all(b"two").unwrap();
        assert_eq!(fs::read(at("new")).unwrap(), b"onetwo");
        symlink(at("new"), at("link")).unwrap();
        symlink(at("none"), at("dangling")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for name in ["link", "dangling"] {
            assert_eq!(open(name).unwrap_err().to_string(), "there is a link of that name");
        }
        // Without a reader a pipe cannot be opened for writing; with one it is refused.
        open("pipe").unwrap_err();
        let _reader = File::options().read(true).write(true).open(at("pipe")).unwrap();
        assert!(open("pipe").unwrap_err().to_string().contains("no plain file"));
        open(".").unwrap_err();
        assert!(!at("none").exists());
    }

    #[test]
    fn a_link_of_a_stranger_is_refused_where_others_may_write() {
        if !geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        fs::write(&target, "").unwrap();
        symlink(&target, &link).unwrap();
        let mode = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode));
        mode(0o1777).unwrap();
        open_log(&link).unwrap().write_all(b"ours").unwrap();
        lchown(&link, Some(4711), None).unwrap();
        let error = open_log(&link).unwrap_err();
        assert!(error.to_string().contains("user 4711"), "{error}");
        mode(0o755).unwrap();
        open_log(&link).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"ours");
    }
}
