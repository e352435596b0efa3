//! One control file: read, write, append, clear, with path and value in every error.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::{Action, Error};
use crate::error_log::Explanation;

/// What no control file is larger than; `kallsyms` and `saved_cmdlines` stay far below.
const READ_LIMIT: u64 = 256 << 20;

/// A file of the tracing directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlFile {
    path: PathBuf,
    error_log: Option<PathBuf>,
}

impl ControlFile {
    /// The file at `path`; nothing is touched.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), error_log: None }
    }

    /// Names the `error_log` that explains refused values.
    #[must_use]
    pub fn explained_by(mut self, error_log: impl Into<PathBuf>) -> Self {
        self.error_log = Some(error_log.into());
        self
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this kernel has the file.
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// [`Error::NotSupported`] where the file is missing, [`Error::Refused`] where it may not be
    /// read, else [`Error::Control`].
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        // Some files, as `header_page`, give all at the first read and then say they are at the end:
        // the first read has to be large, so there must be room for it.
        let mut bytes = Vec::with_capacity(4096);
        File::open(&self.path)
            .and_then(|file| file.take(READ_LIMIT).read_to_end(&mut bytes))
            .map_err(|source| self.error(Action::Read, source))?;
        Ok(bytes)
    }

    /// Reads all of it as text, without white space at the end.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_text(&self) -> Result<String, Error> {
        let bytes = self.read()?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }

    /// Replaces its content by `value`.
    ///
    /// # Errors
    /// As [`read`](Self::read); [`Error::Control`] carries the kernel's explanation if it gave one.
    pub fn write(&self, value: &str) -> Result<(), Error> {
        self.put(OpenOptions::new().write(true).truncate(true), value)
            .map_err(|source| self.error(Action::Write(value.to_owned()), source))
    }

    /// Adds `value` to its content.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn append(&self, value: &str) -> Result<(), Error> {
        self.put(OpenOptions::new().append(true), value)
            .map_err(|source| self.error(Action::Append(value.to_owned()), source))
    }

    /// Adds `line` and the end of it, for files that take commands one a line.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn append_line(&self, line: &str) -> Result<(), Error> {
        self.put(OpenOptions::new().append(true), &format!("{line}\n"))
            .map_err(|source| self.error(Action::Append(line.to_owned()), source))
    }

    /// Adds lines, each by a write of its own, so that the one that is refused is known.
    pub(crate) fn append_lines(&self, lines: &[String]) -> Result<(), Error> {
        lines.iter().try_for_each(|line| self.append_line(line))
    }

    /// Reads its beginning.
    pub(crate) fn read_head(&self, len: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        File::open(&self.path)
            .and_then(|file| file.take(len).read_to_end(&mut bytes))
            .map_err(|source| self.error(Action::Read, source))?;
        Ok(bytes)
    }

    /// Reads it as a number.
    pub(crate) fn read_number(&self) -> Result<u64, Error> {
        let text = self.read_text()?;
        text.parse().map_err(|_| self.unexpected(&text, "a number"))
    }

    /// It holds something else than it should.
    pub(crate) fn unexpected(&self, text: &str, expected: &'static str) -> Error {
        let text = text.chars().take(80).collect();
        Error::Unexpected { path: self.path.clone(), text, expected }
    }

    /// Empties it, by opening it for truncation.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn clear(&self) -> Result<(), Error> {
        OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&self.path)
            .map(drop)
            .map_err(|source| self.error(Action::Clear, source))
    }

    /// The kernel takes a value from one `write`, so a short one is a refusal.
    fn put(&self, options: &OpenOptions, value: &str) -> io::Result<()> {
        let mut file = options.open(&self.path)?;
        let mut rest = value.as_bytes();
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => rest = rest.get(taken..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(crate) fn error(&self, action: Action, source: io::Error) -> Error {
        let path = self.path.clone();
        match source.raw_os_error() {
            // A value may be answered with ENOENT too; then the file itself is there.
            Some(libc::ENOENT) if !path.exists() => Error::NotSupported { path, action, source },
            Some(libc::EOPNOTSUPP | libc::ENOSYS) => Error::NotSupported { path, action, source },
            Some(libc::EPERM | libc::EACCES | libc::EROFS) => {
                Error::Refused { path, action, source }
            }
            _ => {
                let explanation = self.explain(&action).map(Box::new);
                Error::Control { path, action, explanation, source }
            }
        }
    }

    fn explain(&self, action: &Action) -> Option<Explanation> {
        let (Action::Write(value) | Action::Append(value)) = action else { return None };
        let log = Self::at(self.error_log.clone()?).read_text().ok()?;
        Explanation::find(&log, value)
    }
}
