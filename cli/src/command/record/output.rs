//! The file that a recording goes to: it has its name only once it can be read.
//!
//! Until then it has no name at all, so a recording that comes to nothing leaves nothing behind, a
//! file of that name stays what it was, and whoever looks sees a whole head.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::unistd::linkat;

use crate::error::Error;
use crate::files::{self, directory_of, refuse_planted};

/// The file that is written: opened before anything is recorded, so that a place that cannot be
/// written is known at once.
#[derive(Debug)]
pub(crate) struct Output {
    path: PathBuf,
    file: File,
    stage: Cell<Stage>,
    /// The name it has meanwhile, where it must have one.
    temporary: PathBuf,
    existed: bool,
}

/// Under which name the file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// None yet.
    Unnamed,
    /// One of its own.
    Temporary,
    /// That which was asked for.
    Named,
}

impl Output {
    /// Opens the file.
    ///
    /// # Errors
    /// With the place that cannot be written.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let open = |options: &OpenOptions, path: &Path| {
            refuse_planted(path)?;
            options.open(path)
        };
        Self::try_open(path, &open).map_err(|error| {
            Error::failure(format!("cannot write {}", path.display()))
                .because(error)
                .hint("choose another place with -o FILE")
        })
    }

    /// Opens a file whose name comes of what a peer is called: only a plain file of that name is replaced.
    ///
    /// # Errors
    /// With the place that cannot be written.
    pub(crate) fn open_plain(path: &Path) -> Result<Self, Error> {
        Self::try_open(path, &files::open_plain).map_err(|error| {
            Error::failure(format!("cannot write {}", path.display())).because(error)
        })
    }

    /// `open` opens what has the name already.
    fn try_open(
        path: &Path,
        open: &dyn Fn(&OpenOptions, &Path) -> io::Result<File>,
    ) -> io::Result<Self> {
        let old = match fs::symlink_metadata(path) {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}", std::process::id()));
        let mut output = |file, stage| Self {
            path: path.to_owned(),
            file,
            stage: Cell::new(stage),
            temporary: path.with_file_name(std::mem::take(&mut name)),
            existed: old.is_some(),
        };
        let mut options = File::options();
        options.read(true).write(true);
        if let Some(metadata) = &old {
            // What may not be written is not replaced either.
            let file = open(&options, path)?;
            if is_null(&file) {
                // Who throws the trace away still wants it recorded, and that goes to a file.
                options.custom_flags(OFlag::O_TMPFILE.bits());
                return Ok(output(options.open(std::env::temp_dir())?, Stage::Named));
            }
            if !metadata.is_file() {
                return Ok(output(file, Stage::Named));
            }
        }
        let directory = directory_of(path);
        let unnamed = options.clone().custom_flags(OFlag::O_TMPFILE.bits()).open(directory);
        let output = match unnamed {
            Ok(file) => output(file, Stage::Unnamed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
            Err(_) => {
                // Some file systems have no files without a name.
                let mut output = output(File::open(directory)?, Stage::Temporary);
                // One of that name was left by a process that was killed, or is a trap.
                let _ = fs::remove_file(&output.temporary);
                match options.clone().create_new(true).open(&output.temporary) {
                    Ok(file) => output.file = file,
                    // A directory that takes no new file, with one that can be written.
                    Err(_) if output.existed => {
                        output.stage.set(Stage::Named);
                        output.file = open(&options, path)?;
                    }
                    Err(error) => {
                        output.stage.set(Stage::Named);
                        return Err(error);
                    }
                }
                output
            }
        };
        if let Some(old) = old
            && output.stage.get() != Stage::Named
        {
            let mode = old.permissions().mode();
            output.file.set_permissions(Permissions::from_mode(mode))?;
        }
        Ok(output)
    }

    /// Where it is, or will be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file itself.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The file once more, with a position of its own.
    pub(crate) fn reopened(&self) -> Result<File, Error> {
        let opened = File::options().read(true).write(true).open(self.by_descriptor());
        opened.map_err(|error| self.failed(error))
    }

    /// The file without anything in it.
    pub(crate) fn emptied(&self) -> Result<&File, Error> {
        self.file.set_len(0).map_err(|error| self.failed(error))?;
        Ok(&self.file)
    }

    /// Gives the file its name, which an older file of that name loses.
    pub(crate) fn publish(&self) -> Result<(), Error> {
        let named = match self.stage.get() {
            Stage::Named => Ok(()),
            Stage::Temporary => fs::rename(&self.temporary, &self.path),
            Stage::Unnamed => self.link(),
        };
        named.map_err(|error| self.failed(error))?;
        self.stage.set(Stage::Named);
        Ok(())
    }

    /// A file without a name that can take the place of this one; none where that cannot be.
    pub(crate) fn successor(&self) -> Option<File> {
        let metadata = self.file.metadata().ok().filter(fs::Metadata::is_file)?;
        // What is written in place, by way of a link or so, stays in place.
        let is_ours = match fs::symlink_metadata(&self.path) {
            Ok(named) => (named.dev(), named.ino()) == (metadata.dev(), metadata.ino()),
            Err(_) => false,
        };
        let mut options = File::options();
        options.read(true).write(true).custom_flags(OFlag::O_TMPFILE.bits());
        let file = options.open(self.directory()).ok().filter(|_| is_ours)?;
        file.set_permissions(metadata.permissions()).ok()?;
        Some(file)
    }

    /// Puts a complete file in the place of this one, which is there until then.
    pub(crate) fn succeed(&self, successor: &File) -> Result<(), Error> {
        let path = PathBuf::from(format!("/proc/self/fd/{}", successor.as_raw_fd()));
        let replace = || {
            linkat(AT_FDCWD, &path, AT_FDCWD, &self.temporary, AtFlags::AT_SYMLINK_FOLLOW)?;
            fs::rename(&self.temporary, &self.path).inspect_err(|_| {
                let _ = fs::remove_file(&self.temporary);
            })
        };
        replace().map_err(|error: io::Error| self.failed(error))
    }

    fn directory(&self) -> &Path {
        directory_of(&self.path)
    }

    fn link(&self) -> io::Result<()> {
        let link = || {
            let flags = AtFlags::AT_SYMLINK_FOLLOW;
            linkat(AT_FDCWD, &self.by_descriptor(), AT_FDCWD, &self.path, flags)
        };
        match link() {
            // Renaming over a file makes some file systems write the new one out first.
            Err(Errno::EEXIST) => {
                // Its blocks are freed when it is closed, which nobody has to wait for.
                let old = File::open(&self.path);
                fs::remove_file(&self.path)?;
                std::thread::spawn(|| drop(old));
                Ok(link()?)
            }
            linked => Ok(linked?),
        }
    }

    fn by_descriptor(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// What was written so far is of no use.
    pub(crate) fn abandon(self) {
        if self.stage.get() == Stage::Named && !self.existed {
            let _ = fs::remove_file(&self.path);
        }
    }

    pub(crate) fn failed(
        &self,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error::failure(format!("cannot write {}", self.path.display())).because(error)
    }
}

/// Whether it is /dev/null, by whichever name.
fn is_null(file: &File) -> bool {
    let null = fs::metadata("/dev/null").map(|null| null.rdev());
    file.metadata().is_ok_and(|metadata| {
        metadata.file_type().is_char_device() && null.is_ok_and(|null| metadata.rdev() == null)
    })
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.stage.get() == Stage::Temporary {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_has_its_name_when_it_is_published() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trace.dat");
        let output = Output::open(&path).unwrap();
        output.file().write_all(b"new").unwrap();
        assert!(!path.exists());
        output.publish().unwrap();
        output.reopened().unwrap().write_all(b"NEW and more").unwrap();
        drop(output);
        assert_eq!(fs::read(&path).unwrap(), b"NEW and more");
        assert_eq!(names(dir.path()), ["trace.dat"]);
    }

    #[test]
    fn an_older_file_stays_until_then_and_gives_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trace.dat");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        drop(Output::open(&path).unwrap());
        let output = Output::open(&path).unwrap();
        output.file().write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        output.publish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(names(dir.path()), ["trace.dat"]);
    }

    #[test]
    fn a_successor_takes_the_place_and_the_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trace.dat");
        let output = Output::open(&path).unwrap();
        assert!(output.successor().is_none(), "nothing has the name yet");
        output.publish().unwrap();
        output.file().set_permissions(Permissions::from_mode(0o604)).unwrap();
        let mut successor = output.successor().unwrap();
        successor.write_all(b"whole").unwrap();
        output.succeed(&successor).unwrap();
        drop(output);
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o604);
        assert_eq!(names(dir.path()), ["trace.dat"]);

        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(Output::open(&link).unwrap().successor().is_none());
    }

    #[test]
    fn no_link_is_followed_where_a_peer_gives_the_name() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = (dir.path().join("trace.dat"), dir.path().join("target"));
        fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        let error = Output::open_plain(&path).unwrap_err().to_string();
        assert!(error.contains("there is a link of that name"), "{error}");
        fs::remove_file(&path).unwrap();
        // Another name of the same file loses its own, and keeps what is in it.
        fs::hard_link(&target, &path).unwrap();
        let output = Output::open_plain(&path).unwrap();
        output.emptied().unwrap().write_all(b"new").unwrap();
        output.publish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read(&target).unwrap(), b"precious");
    }

    #[test]
    fn what_is_abandoned_is_gone_and_places_that_cannot_be_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trace.dat");
        let output = Output::open(&path).unwrap();
        output.publish().unwrap();
        output.abandon();
        assert!(names(dir.path()).is_empty());
        Output::open(&dir.path().join("none/trace.dat")).unwrap_err();
        Output::open(dir.path()).unwrap_err();
        let null = Output::open(Path::new("/dev/null")).unwrap();
        null.emptied().unwrap().write_all(b"nobody reads it").unwrap();
        null.publish().unwrap();
        null.abandon();
        assert!(Path::new("/dev/null").exists());
    }
}
