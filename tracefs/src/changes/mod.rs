//! What was changed, and how it was before: everything a recording touches is put back.

mod journal;
mod journal_file;
mod line;
mod setters;
mod undo;

pub use journal::{Journal, StaleJournals};

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::control_file::ControlFile;
use crate::error::Error;
use crate::instance::Instance;
use crate::tracing_dir::TracingDir;
use journal_file::JournalFile;
use undo::Undo;

/// A journal of changes. Every write through it remembers the old value first; [`restore`]
/// (or dropping it, also in a panic) puts all back, what was touched last first.
///
/// Control files and events get the state they had before they were first touched. What is not
/// put back is the content of the ring buffers: a recording consumes it, and a new clock or size
/// empties them. Changes inside an instance that was made here are not remembered one by one:
/// the instance goes as a whole, once nobody has its files open.
///
/// A process that is killed puts nothing back. One that is [`journaled`](Self::journaled) leaves a
/// file behind, from which another process can: see [`Journal`].
///
/// [`restore`]: Self::restore
#[derive(Debug, Default)]
#[must_use = "dropping it puts everything back"]
pub struct Changes {
    undos: Vec<Undo>,
    /// The same on disk.
    file: Option<JournalFile>,
    /// Files whose old value is remembered.
    known: HashSet<PathBuf>,
    /// Directories of instances made here.
    created: HashSet<PathBuf>,
}

/// What could not be put back; the rest was.
#[derive(Debug, thiserror::Error)]
#[error("{} of the changes to tracing could not be put back: {}", errors.len(), first(errors))]
pub struct RestoreError {
    /// One error for each.
    pub errors: Vec<Error>,
}

impl Changes {
    /// Nothing changed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing changed yet; what will be is also written to a file of this process in the
    /// directory `journals`, which is made if it is missing. Only changes below `dir` can be made.
    ///
    /// # Errors
    /// [`Error::Journal`] when the file cannot be made.
    pub fn journaled(dir: &TracingDir, journals: &Path) -> Result<Self, Error> {
        let mut changes = Self::new();
        changes.file = Some(JournalFile::create(dir, journals)?);
        Ok(changes)
    }

    /// Makes an instance, or takes the one that is there (the flag says so); one that was made
    /// is removed again.
    ///
    /// # Errors
    /// As [`TracingDir::create_instance`].
    pub fn create_instance(
        &mut self,
        dir: &TracingDir,
        name: &str,
    ) -> Result<(Instance, bool), Error> {
        if let Ok(instance) = dir.instance(name) {
            return Ok((instance, true));
        }
        let removal =
            |inode| Undo::RemoveInstance { dir: dir.clone(), name: name.to_owned(), inode };
        self.remember(removal(None))?;
        let made = dir.create_instance(name);
        if !matches!(made, Ok((_, false))) {
            self.forget_last();
        }
        let (instance, existed) = made?;
        if !existed {
            self.created.insert(instance.path().to_owned());
            // From now on it is known which directory it was, so that no other of this name goes.
            let inode = undo::inode(instance.path());
            self.remember(removal(inode))?;
        }
        Ok((instance, existed))
    }

    /// Writes one control file that takes what it shows.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn write(&mut self, file: &ControlFile, value: &str) -> Result<(), Error> {
        if self.is_new(file) {
            let old = file.read_text()?;
            self.remember_value(file, old)?;
        }
        file.write(value)
    }

    /// Puts everything back.
    ///
    /// # Errors
    /// What could not be put back; all of it is tried. It stays in the journal on disk, if there
    /// is one.
    pub fn restore(mut self) -> Result<(), RestoreError> {
        let errors = self.undo_all();
        if errors.is_empty() { Ok(()) } else { Err(RestoreError { errors }) }
    }

    /// Puts events back before all else, which takes the kernel longest. What could not be put back
    /// is tried again by [`restore`](Self::restore).
    pub fn restore_events(&mut self) {
        let is_events = |undo: &mut Undo| matches!(undo, Undo::Events { .. });
        let events: Vec<Undo> = self.undos.extract_if(.., is_events).collect();
        let (failed, _) = undo::run_all(events);
        self.undos.extend(failed);
    }

    /// Forgets what was remembered, so everything stays as it is now.
    pub fn keep(mut self) {
        self.undos.clear();
    }

    fn undo_all(&mut self) -> Vec<Error> {
        let (failed, errors) = undo::run_all(std::mem::take(&mut self.undos));
        self.known.clear();
        self.created.clear();
        if let Some(file) = self.file.take() {
            file.finish(&failed);
        }
        errors
    }

    fn is_created(&self, instance: &Instance) -> bool {
        self.created.contains(instance.path())
    }

    /// Whether a file's old value is not remembered yet, and has to be.
    fn is_new(&self, file: &ControlFile) -> bool {
        let path = file.path();
        !self.known.contains(path) && !self.created.iter().any(|made| path.starts_with(made))
    }

    /// Remembers how one change is undone, on disk first.
    fn remember(&mut self, undo: Undo) -> Result<(), Error> {
        if let Some(file) = &mut self.file {
            file.add(&undo)?;
        }
        self.undos.push(undo);
        Ok(())
    }

    fn remember_value(&mut self, file: &ControlFile, old: String) -> Result<(), Error> {
        self.remember(Undo::Write { file: file.clone(), old })?;
        self.known.insert(file.path().to_owned());
        Ok(())
    }

    /// The change that was remembered last was not made after all.
    fn forget_last(&mut self) {
        self.undos.pop();
        if let Some(file) = &mut self.file {
            file.remove_last();
        }
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        // Nobody is left to be told; `restore` tells.
        let _ = self.undo_all();
    }
}

fn first(errors: &[Error]) -> String {
    errors.first().map(ToString::to_string).unwrap_or_default()
}
