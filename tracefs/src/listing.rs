//! What there is, in the order in which the kernel lists it: newest first, as a rule.

use std::fs;
use std::path::Path;

use crate::control_file::ControlFile;
use crate::error::{Action, Error};
use crate::event::EventName;
use crate::instance::Instance;
use crate::tracing_dir::TracingDir;

impl TracingDir {
    /// Names of all instances but the top one.
    ///
    /// # Errors
    /// What the kernel answers; a kernel without instances has none.
    pub fn listed_instances(&self) -> Result<Vec<String>, Error> {
        directories(&self.path().join("instances"))
    }
}

impl Instance {
    /// Systems that have a directory; unlike [`systems`](Self::systems) with those whose events
    /// cannot be enabled, as `ftrace`.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn listed_systems(&self) -> Result<Vec<String>, Error> {
        directories(&self.path().join("events"))
    }

    /// Events of a system.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn listed_events(&self, system: &str) -> Result<Vec<EventName>, Error> {
        let names = directories(&self.path().join("events").join(system))?;
        Ok(names.into_iter().map(|event| EventName::new(system, event)).collect())
    }

    /// Trace options with their state, those of tracers that do not run included.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn listed_options(&self) -> Result<Vec<(String, bool)>, Error> {
        let names = names(&self.path().join("options"), |_| true)?;
        let state = |name: String| {
            let set = self.file(&format!("options/{name}")).read_text()? != "0";
            Ok((name, set))
        };
        names.into_iter().map(state).collect()
    }
}

fn directories(path: &Path) -> Result<Vec<String>, Error> {
    names(path, |entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
}

/// Names in a directory; none where it is missing.
fn names(path: &Path, wanted: impl Fn(&fs::DirEntry) -> bool) -> Result<Vec<String>, Error> {
    let failed = |source| ControlFile::at(path).error(Action::Read, source);
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if wanted(&entry) {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}
