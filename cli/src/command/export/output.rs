//! A file that nobody finds half written under its name.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::output;

/// A file, or standard output. A file has its name when it is whole, and is gone when it never is.
pub(in crate::command) struct Output {
    to: Box<dyn Write + Send>,
    part: Option<Part>,
}

struct Part {
    path: PathBuf,
    name: PathBuf,
}

impl Output {
    /// Creates a file; without a name, everything goes to standard output.
    pub(in crate::command) fn create(path: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = path else {
            return Ok(Self { to: Box::new(io::stdout()), part: None });
        };
        let part = part(path);
        let file = File::create(&part).map_err(|cause| cannot_write(path, cause))?;
        let part = Part { path: part, name: path.to_owned() };
        Ok(Self { to: Box::new(file), part: Some(part) })
    }

    /// Where it goes when it is whole.
    pub(super) fn name(&self) -> Option<&Path> {
        self.part.as_ref().map(|part| part.name.as_path())
    }

    /// Gives the file its name.
    pub(in crate::command) fn finish(mut self) -> Result<(), Error> {
        self.to.flush().map_err(|cause| self.failed(cause))?;
        let Some(part) = self.part.take() else { return Ok(()) };
        fs::rename(&part.path, &part.name).map_err(|cause| cannot_write(&part.name, cause))
    }

    /// What to say when it could not be written.
    pub(super) fn failed(&self, cause: io::Error) -> Error {
        match self.name() {
            Some(path) => cannot_write(path, cause),
            None => cause.into(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(part) = &self.part
            && let Err(error) = fs::remove_file(&part.path)
        {
            output::tell(&format!("cannot remove {}: {error}", part.path.display()));
        }
    }
}

/// Under which name a file is written.
pub(super) fn part(path: &Path) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    part.into()
}

/// Something could not be written.
pub(in crate::command) fn cannot_write(path: &Path, cause: io::Error) -> Error {
    Error::failure(format!("cannot write {}", path.display()))
        .because(cause)
        .hint("name another place with -o PATH")
}
