//! The tracing directory: where tracefs is mounted, and the root of all else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::control_file::ControlFile;
use crate::error::{Action, Error};
use crate::instance::Instance;
use crate::sys;

/// Where tracefs is mounted by convention, best first.
const USUAL_PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// A mounted tracefs, or a directory that looks like one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TracingDir {
    path: PathBuf,
}

impl TracingDir {
    /// Takes a directory as the tracing directory, unseen. For tests and unusual mounts.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Finds where tracefs is mounted, and mounts it on `/sys/kernel/tracing` where it is not.
    ///
    /// # Errors
    /// [`Error::NotRoot`], [`Error::NoTracefs`] or [`Error::Mount`].
    pub fn find_or_mount() -> Result<Self, Error> {
        if let Some(found) = Self::find()? {
            return Ok(found);
        }
        let path = PathBuf::from(USUAL_PLACES[0]);
        if !kernel_has_tracefs() || !path.exists() {
            return Err(Error::NoTracefs);
        }
        match sys::mount_tracefs(&path) {
            Ok(()) => Ok(Self { path }),
            // Root may be refused too, in a container.
            Err(source) if source.kind() == io::ErrorKind::PermissionDenied && !sys::is_root() => {
                Err(Error::NotRoot { path, source })
            }
            // Somebody mounted it in between.
            Err(source) if source.raw_os_error() == Some(libc::EBUSY) => {
                Self::find()?.ok_or(Error::Mount { path, source })
            }
            Err(source) => Err(Error::Mount { path, source }),
        }
    }

    /// Finds where tracefs is mounted, if it is.
    ///
    /// # Errors
    /// [`Error::NotRoot`] if it is mounted and this user may not look into it.
    pub fn find() -> Result<Option<Self>, Error> {
        let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
        let mounted = mount_points(&String::from_utf8_lossy(&mounts), "tracefs");
        let usual = USUAL_PLACES.map(PathBuf::from);
        // The conventional places first: debugfs mounts a second one on demand.
        let known = usual.iter().filter(|place| mounted.contains(place));
        let others = mounted.iter().filter(|place| !usual.contains(place));
        let automount = usual.iter().skip(1);
        for path in known.chain(others).chain(automount).cloned() {
            match fs::metadata(path.join("trace")) {
                Ok(_) => return Ok(Some(Self { path })),
                Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(Error::NotRoot { path, source });
                }
                Err(_) => {}
            }
        }
        Ok(None)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A control file of the directory itself.
    pub fn file(&self, name: &str) -> ControlFile {
        ControlFile::at(self.path.join(name)).explained_by(self.path.join("error_log"))
    }

    /// The top-level instance.
    pub fn top(&self) -> Instance {
        Instance::top(self)
    }

    /// An instance that exists.
    ///
    /// # Errors
    /// [`Error::UnknownInstance`], or [`Error::InvalidName`].
    pub fn instance(&self, name: &str) -> Result<Instance, Error> {
        let instance = Instance::named(self, name)?;
        if instance.path().is_dir() {
            Ok(instance)
        } else {
            Err(Error::UnknownInstance { name: name.to_owned() })
        }
    }

    /// Makes an instance, or takes the one that is there; the flag says that it was there before.
    ///
    /// # Errors
    /// [`Error::InvalidName`], or what the kernel answers.
    ///
    /// # Kernel support
    /// Instances exist since Linux 3.10.
    pub fn create_instance(&self, name: &str) -> Result<(Instance, bool), Error> {
        let instance = Instance::named(self, name)?;
        let directory = ControlFile::at(instance.path());
        match fs::create_dir(instance.path()) {
            Ok(()) => Ok((instance, false)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok((instance, true)),
            Err(source) => Err(directory.error(Action::Create, source)),
        }
    }

    /// Removes an instance with its buffers; one that is in use is refused as busy.
    ///
    /// # Errors
    /// [`Error::InvalidName`], or what the kernel answers.
    pub fn remove_instance(&self, name: &str) -> Result<(), Error> {
        let instance = Instance::named(self, name)?;
        fs::remove_dir(instance.path())
            .map_err(|source| ControlFile::at(instance.path()).error(Action::Remove, source))
    }

    /// Names of all instances but the top one, sorted.
    ///
    /// # Errors
    /// What the kernel answers; a kernel without instances has none.
    pub fn instances(&self) -> Result<Vec<String>, Error> {
        directory_names(&self.path.join("instances"))
    }
}

/// Names of the directories in `path`, sorted; none where `path` is missing.
pub(crate) fn directory_names(path: &Path) -> Result<Vec<String>, Error> {
    let failed = |source| ControlFile::at(path).error(Action::Read, source);
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn kernel_has_tracefs() -> bool {
    let list = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    list.lines().any(|line| line.split_whitespace().last() == Some("tracefs"))
}

/// Mount points of one file system type, from the text of `mountinfo`.
fn mount_points(mountinfo: &str, kind: &str) -> Vec<PathBuf> {
    let of_kind = |line: &&str| {
        line.split_once(" - ").and_then(|(_, tail)| tail.split(' ').next()) == Some(kind)
    };
    let place = |line: &str| line.split(' ').nth(4).map(|text| PathBuf::from(unescape(text)));
    mountinfo.lines().filter(of_kind).filter_map(place).collect()
}

/// Undoes the kernel's `\040` for white space in paths.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        match after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_from_mountinfo() {
        let text = "\
23 28 0:21 / /sys rw,relatime - sysfs sysfs rw
42 23 0:13 / /sys/kernel/tracing rw,relatime shared:7 - tracefs nodev rw
43 23 0:13 / /mnt/my\\040traces\\134x rw - tracefs nodev rw
broken line
";
        assert_eq!(
            mount_points(text, "tracefs"),
            [PathBuf::from("/sys/kernel/tracing"), PathBuf::from("/mnt/my traces\\x")]
        );
    }

    #[test]
    fn names_that_leave_the_directory_are_not_instances() {
        let dir = TracingDir::at("/nonexistent");
        for name in ["", ".", "..", "a/b", "a\0b"] {
            assert!(
                matches!(dir.create_instance(name), Err(Error::InvalidName { .. })),
                "{name:?}"
            );
        }
    }
}
