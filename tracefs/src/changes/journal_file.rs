//! The file in which a running process writes down what it changes.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::journal::{ProcessId, boot_id, head};
use super::undo::Undo;
use crate::error::Error;
use crate::tracing_dir::TracingDir;

/// An open journal. Its lock says that the process lives, also to those who cannot see it.
#[derive(Debug)]
pub(super) struct JournalFile {
    file: Flock<File>,
    path: PathBuf,
    dir: TracingDir,
    process: ProcessId,
    /// Where each line begins.
    begins: Vec<u64>,
    length: u64,
}

impl JournalFile {
    pub(super) fn create(dir: &TracingDir, journals: &Path) -> Result<Self, Error> {
        let failed = |path: &Path, source| Error::Journal { path: path.to_owned(), source };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(journals)
            .map_err(|source| failed(journals, source))?;
        let process = ProcessId::own().map_err(|source| failed(Path::new("/proc/self"), source))?;
        let (path, file) = Self::open_new(journals, process)?;
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| failed(&path, errno.into()))?;
        let (dir, begins) = (dir.clone(), Vec::new());
        let mut journal = Self { file, path, dir, process, begins, length: 0 };
        let head = head(journal.process, &boot_id(), &journal.dir);
        journal.put(&head)?;
        Ok(journal)
    }

    /// A process may have several, as a test does; each has a file of its own.
    fn open_new(journals: &Path, process: ProcessId) -> Result<(PathBuf, File), Error> {
        for number in 0..u32::MAX {
            let path = journals.join(process.file_name(number));
            let mut options = OpenOptions::new();
            match options.write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok((path, file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(Error::Journal { path, source }),
            }
        }
        let source = io::ErrorKind::AlreadyExists.into();
        Err(Error::Journal { path: journals.to_owned(), source })
    }

    /// Writes one change down. It is safe from the death of this process when this returns;
    /// tracefs itself does not survive that of the machine.
    pub(super) fn add(&mut self, undo: &Undo) -> Result<(), Error> {
        let Some(line) = undo.to_line(&self.dir) else {
            let source = io::Error::other("a change outside the tracing directory");
            return Err(Error::Journal { path: self.path.clone(), source });
        };
        let begin = self.length;
        self.put(&format!("{line}\n"))?;
        self.begins.push(begin);
        Ok(())
    }

    /// Takes the last line back.
    pub(super) fn remove_last(&mut self) {
        if let Some(begin) = self.begins.pop() {
            // A line too many undoes what was not done, which the kernel refuses.
            let _ = self.cut(begin);
        }
    }

    /// All was undone but `failed`, for which the file stays.
    pub(super) fn finish(mut self, failed: &[Undo]) {
        if failed.is_empty() || self.rewrite(failed).is_err() {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    fn rewrite(&mut self, undos: &[Undo]) -> Result<(), Error> {
        self.cut(0).map_err(|source| Error::Journal { path: self.path.clone(), source })?;
        let head = head(self.process, &boot_id(), &self.dir);
        self.put(&head)?;
        undos.iter().try_for_each(|undo| self.add(undo))
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.file.seek(SeekFrom::Start(length))?;
        self.length = length;
        Ok(())
    }

    fn put(&mut self, text: &str) -> Result<(), Error> {
        let failed = |source| Error::Journal { path: self.path.clone(), source };
        self.file.write_all(text.as_bytes()).map_err(failed)?;
        self.length += text.len() as u64;
        Ok(())
    }
}
