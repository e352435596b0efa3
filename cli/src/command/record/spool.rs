//! The sub-buffers of one CPU of a guest on their way into its file: `OUTPUT.cpuN`.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// A file that is removed when the value is dropped.
pub(crate) struct Spool {
    path: PathBuf,
    file: File,
    pub(crate) cpu: u32,
}

impl Spool {
    /// Creates the file beside the output.
    pub(crate) fn create(output: &Path, cpu: u32) -> Result<Self, Error> {
        let mut name = output.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".cpu{cpu}"));
        let path = output.with_file_name(name);
        let failed = |error| {
            Error::failure(format!("cannot create {}", path.display()))
                .because(error)
                .hint("choose a place that can be written with -o FILE")
        };
        let mut options = File::options();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(failed)?;
        Ok(Self { path, file, cpu })
    }

    /// A second descriptor, for the recorder to write to.
    pub(crate) fn sink(&self) -> Result<OwnedFd, Error> {
        let copy = self.file.try_clone();
        copy.map(OwnedFd::from).map_err(|error| {
            Error::failure(format!("cannot use {}", self.path.display())).because(error)
        })
    }

    /// The file itself.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Bytes that reached it.
    pub(crate) fn size(&self) -> Result<u64, Error> {
        let metadata = self.file.metadata();
        metadata.map(|metadata| metadata.len()).map_err(|error| {
            Error::failure(format!("cannot use {}", self.path.display())).because(error)
        })
    }

    /// Leaves the files where they are, because their data is nowhere else; returns the first.
    pub(crate) fn keep(spools: Vec<Self>) -> Option<PathBuf> {
        let first = spools.first().map(|spool| spool.path.clone());
        for spool in spools {
            std::mem::forget(spool);
        }
        first
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // Nothing can be done about a file that cannot be removed.
        let _ = fs::remove_file(&self.path);
    }
}
