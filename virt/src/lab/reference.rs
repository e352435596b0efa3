//! The C trace-cmd, which tests and benches compare with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::command;
use super::error::{LabError, Missing, file};
use super::kernel::lock;

/// The version whose output and files are the measure.
const VERSION: &str = "3.1.6";

const SHIM_SOURCE: &str = include_str!("peer_shim.c");

/// The installed C trace-cmd.
#[derive(Debug, Clone)]
pub struct Reference {
    program: PathBuf,
    version: String,
}

impl Reference {
    /// Looks for it where packages put it, whatever `PATH` has first.
    ///
    /// # Errors
    ///
    /// [`Missing::Reference`] when it is not installed, or something else has its name.
    pub fn find() -> Result<Self, Missing> {
        let program = PathBuf::from("/usr/bin/trace-cmd");
        let output = Command::new(&program)
            .output()
            .map_err(|error| Missing::Reference(format!("{}: {error}", program.display())))?;
        // Without arguments it prints its version among its subcommands.
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let version = parse_version(&text)
            .ok_or_else(|| Missing::Reference(format!("{} is not it", program.display())))?;
        Ok(Self { program, version: version.to_owned() })
    }

    /// Returns its version, such as `3.1.6`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Asks for the version that outputs are compared with byte for byte.
    ///
    /// # Errors
    ///
    /// [`Missing::Reference`] with both versions.
    pub fn exact(self) -> Result<Self, Missing> {
        if self.version == VERSION {
            return Ok(self);
        }
        Err(Missing::Reference(format!("{VERSION} is compared with, {} is here", self.version)))
    }

    /// Returns where it is, as for a guest that shall have it too.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Returns a command that reads files.
    pub fn reader(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("LC_ALL", "C").env("TZ", "UTC");
        command
    }

    /// Returns a command that records, also on a kernel under lockdown.
    ///
    /// # Errors
    ///
    /// When the shim that takes cannot be built.
    pub fn recorder(&self) -> Result<Command, LabError> {
        let mut command = self.reader();
        command.env("LD_PRELOAD", shim(&super::cache_dir())?);
        Ok(command)
    }
}

fn parse_version(text: &str) -> Option<&str> {
    let line = text.lines().find(|line| line.starts_with("trace-cmd version "))?;
    line.split_whitespace().nth(2)
}

/// Builds the shim unless that was done before; returns its path.
fn shim(cache_dir: &Path) -> Result<PathBuf, LabError> {
    let _lock = lock(cache_dir, "shim.lock")?;
    let source = cache_dir.join("peer_shim.c");
    let library = cache_dir.join("peer_shim.so");
    let is_built = library.exists() && fs::read_to_string(&source).is_ok_and(|s| s == SHIM_SOURCE);
    if !is_built {
        fs::write(&source, SHIM_SOURCE).map_err(file("writing", &source))?;
        // A failure must not leave an older library beside the newer source.
        let _ = fs::remove_file(&library);
        let mut gcc = Command::new(command::find("gcc", "gcc")?);
        gcc.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]);
        command::output(gcc.arg(&library).arg(&source).arg("-ldl"))?;
    }
    Ok(library)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_from_the_usage_text() {
        let text =
            "\ntrace-cmd version 3.1.6 (not-a-git-repo)\n\nusage:\n  trace-cmd [COMMAND] ...\n";
        assert_eq!(parse_version(text), Some("3.1.6"));
        assert_eq!(parse_version("usage: something else\n"), None);
    }

    #[test]
    fn shim_compiles_and_is_built_once() {
        let directory = tempfile::tempdir().unwrap();
        let library = shim(directory.path()).unwrap();
        let built = fs::metadata(&library).unwrap().modified().unwrap();
        shim(directory.path()).unwrap();
        assert_eq!(fs::metadata(&library).unwrap().modified().unwrap(), built);
    }
}
