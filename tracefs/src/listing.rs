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

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn sorted(mut names: Vec<String>) -> Vec<String> {
        names.sort_unstable();
        names
    }

    #[test]
    fn directories_are_systems_and_events_and_files_are_options() {
        let temp = TempDir::new().unwrap();
        let put = |name: &str, text: &str| {
            let path = temp.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("events/enable", "0\n");
        put("events/header_page", "");
        put("events/ftrace/print/format", "");
        put("events/irq/enable", "0\n");
        put("events/irq/irq_entry/enable", "0\n");
        put("options/raw", "0\n");
        put("options/overwrite", "1\n");
        put("instances/foo/trace", "");
        let dir = TracingDir::at(temp.path());
        let top = dir.top();
        assert_eq!(sorted(top.listed_systems().unwrap()), ["ftrace", "irq"]);
        assert_eq!(top.listed_events("irq").unwrap(), [EventName::new("irq", "irq_entry")]);
        let mut options = top.listed_options().unwrap();
        options.sort_unstable();
        assert_eq!(options, [("overwrite".to_owned(), true), ("raw".to_owned(), false)]);
        assert_eq!(dir.listed_instances().unwrap(), ["foo"]);
        assert!(dir.instance("foo").unwrap().listed_systems().unwrap().is_empty());
    }
}
