//! An instance: a tracing directory with its own ring buffers; the top-level one included.

use std::path::{Path, PathBuf};

use crate::control_file::ControlFile;
use crate::error::Error;
use crate::tracing_dir::{TracingDir, directory_names};

/// The top-level instance, or a named one. A value: nothing is held open.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Instance {
    path: PathBuf,
    root: TracingDir,
    name: Option<String>,
}

impl Instance {
    pub(crate) fn top(root: &TracingDir) -> Self {
        Self { path: root.path().to_owned(), root: root.clone(), name: None }
    }

    pub(crate) fn named(root: &TracingDir, name: &str) -> Result<Self, Error> {
        if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
            return Err(Error::InvalidName { kind: "a tracing instance", name: name.to_owned() });
        }
        let path = root.path().join("instances").join(name);
        Ok(Self { path, root: root.clone(), name: Some(name.to_owned()) })
    }

    /// Its name; the top-level instance has none.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tracing directory it belongs to.
    pub fn tracing_dir(&self) -> &TracingDir {
        &self.root
    }

    /// One of its control files, as `trace_clock` or `events/sched/enable`.
    pub fn file(&self, name: &str) -> ControlFile {
        ControlFile::at(self.path.join(name)).explained_by(self.path.join("error_log"))
    }

    /// One of the control files of a CPU, as `stats`.
    pub fn cpu_file(&self, cpu: u32, name: &str) -> ControlFile {
        self.file(&format!("per_cpu/cpu{cpu}/{name}"))
    }

    /// The CPUs that have a ring buffer, ascending. CPUs that are off-line keep theirs.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn cpus(&self) -> Result<Vec<u32>, Error> {
        let names = directory_names(&self.path.join("per_cpu"))?;
        let number =
            |name: &String| name.strip_prefix("cpu").and_then(|digits| digits.parse().ok());
        let mut cpus: Vec<u32> = names.iter().filter_map(number).collect();
        cpus.sort_unstable();
        Ok(cpus)
    }
}
