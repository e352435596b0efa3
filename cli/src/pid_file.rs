//! A file that tells which process serves or records in the background, as long as it does.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::files::open_plain;

/// The file of this process. It goes with it.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Names this process; without a file it can be stopped all the same.
    pub(crate) fn of_this(path: &Path) -> Option<Self> {
        let file = write(path, std::process::id()).ok()?;
        Some(Self { path: path.to_owned(), file })
    }

    /// Whether it is still there and names this process. The file that is open is asked: this process may have given up
    /// the right to open another.
    fn is_own(&self) -> bool {
        let mut text = [0; 32];
        let count = self.file.read_at(&mut text, 0).unwrap_or(0);
        let (opened, named) = (self.file.metadata(), fs::symlink_metadata(&self.path));
        let is_named =
            opened.is_ok_and(|opened| named.is_ok_and(|named| named.ino() == opened.ino()));
        is_named && text.get(..count) == Some(line_of(std::process::id()).as_bytes())
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if self.is_own() && fs::remove_file(&self.path).is_err() {
            // Where this user may not remove it, it names nobody any more.
            let _ = self.file.set_len(0);
        }
    }
}

/// Names a process.
///
/// # Errors
/// What the system says, or what is there instead of a plain file.
pub(crate) fn write(path: &Path, pid: u32) -> io::Result<File> {
    let mut options = File::options();
    let options = options.read(true).write(true).create(true).truncate(false);
    let mut file = open_plain(options, path)?;
    file.set_len(0)?;
    file.write_all(line_of(pid).as_bytes())?;
    Ok(file)
}

/// Removes the file if it names this process.
pub(crate) fn remove_own(path: &Path) {
    if fs::read_to_string(path).is_ok_and(|text| text == line_of(std::process::id())) {
        let _ = fs::remove_file(path);
    }
}

fn line_of(pid: u32) -> String {
    format!("{pid}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_the_process_and_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        fs::write(&path, "a longer text of one that was killed\n").unwrap();
        let file = PidFile::of_this(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn that_of_another_stays_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = (dir.path().join("pid"), dir.path().join("target"));
        let file = PidFile::of_this(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
        fs::remove_file(&path).unwrap();
        fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert!(PidFile::of_this(&path).is_none());
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    }
}
