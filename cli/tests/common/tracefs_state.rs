//! All that can be written in tracefs, to see that it is as it was.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;

use super::check;

/// Files that show what is in the buffers, take it away by being read, or are written to only.
const CONTENT: [&str; 11] = [
    "trace",
    "trace_pipe",
    "trace_pipe_raw",
    "snapshot",
    "snapshot_raw",
    "free_buffer",
    "trace_marker",
    "trace_marker_raw",
    "per_cpu",
    "error_log",
    "instances",
];

/// The text of every file that can be written, of the top-level instance, and the names of instances.
pub(crate) struct WritableFiles(BTreeMap<PathBuf, String>);

impl WritableFiles {
    /// Reads all of them.
    pub(crate) fn read(tracing: &Path) -> Self {
        let mut files = BTreeMap::new();
        add(tracing, &mut files);
        for instance in fs::read_dir(tracing.join("instances")).into_iter().flatten().flatten() {
            files.insert(instance.path(), "an instance".to_owned());
        }
        Self(files)
    }

    /// Checks that nothing has changed.
    pub(crate) fn are_as_in(&self, tracing: &Path) -> Result<(), Failed> {
        let now = Self::read(tracing);
        let differs = |path: &&PathBuf| self.0.get(*path) != now.0.get(*path);
        let changed: Vec<_> = self.0.keys().chain(now.0.keys()).filter(differs).collect();
        check(changed.is_empty(), || {
            let shown = changed.iter().take(5).map(|path| {
                format!("{}: {:?}, then {:?}", path.display(), self.0.get(*path), now.0.get(*path))
            });
            format!("{} files changed: {:#?}", changed.len(), shown.collect::<Vec<_>>())
        })
    }
}

fn add(dir: &Path, files: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if CONTENT.iter().any(|other| name == *other) {
            continue;
        }
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            add(&path, files);
        } else if metadata.permissions().mode() & 0o600 == 0o600
            && let Ok(text) = fs::read_to_string(&path)
        {
            files.insert(path, text);
        }
    }
}
