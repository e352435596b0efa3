//! A small disk, to be filled.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Failed;
use tempfile::TempDir;

use super::{check, success};

/// A file system that is mounted as long as this lasts.
pub(crate) struct Disk {
    /// Holds the image and the directory that it is mounted on.
    dir: TempDir,
}

impl Disk {
    /// In memory, of a size as mount takes it.
    pub(crate) fn tmpfs(size: &str) -> Result<Self, Failed> {
        let option = format!("size={size}");
        Self::mount(|_| Ok(["-t", "tmpfs", "-o", &option, "none"].map(str::to_owned).to_vec()))
    }

    /// With blocks that can be renumbered.
    pub(crate) fn ext4(bytes: u64) -> Result<Self, Failed> {
        Self::mount(|image| {
            File::create(image)?.set_len(bytes)?;
            success(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image))?;
            let image = image.to_str().ok_or("a path that is no text")?;
            Ok(["-o", "loop", image].map(str::to_owned).to_vec())
        })
    }

    fn mount(prepare: impl FnOnce(&Path) -> Result<Vec<String>, Failed>) -> Result<Self, Failed> {
        let disk = Self { dir: TempDir::new()? };
        fs::create_dir(disk.root())?;
        let image = disk.dir.path().join("image");
        success(Command::new("mount").args(prepare(&image)?).arg(disk.root()))?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Writes to a file until nothing more can be, and then gives so many bytes back.
    pub(crate) fn fill(&self, free: u64) -> Result<Filler, Failed> {
        let path = self.root().join("filler");
        let mut file = File::create(&path)?;
        let filled = io::copy(&mut io::repeat(0), &mut file).and_then(|_| file.flush());
        let is_full = |error: &io::Error| error.kind() == io::ErrorKind::StorageFull;
        check(filled.as_ref().is_err_and(is_full), || format!("{filled:?}"))?;
        let len = file.metadata()?.len();
        check(len > free, || format!("it has {len} bytes"))?;
        file.set_len(len - free)?;
        Ok(Filler(path))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What cannot be unmounted now goes with the last who uses it.
        let _ = Command::new("umount").arg("-l").arg(self.root()).status();
    }
}

/// What fills a disk, until it is dropped.
pub(crate) struct Filler(PathBuf);

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
