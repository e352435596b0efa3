//! The kernel's tracing as it was before a recording.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Outcome;

/// What recordings change, each a value that can be written back.
const FILES: &[&str] = &[
    "events/enable",
    "current_tracer",
    "trace_clock",
    "buffer_size_kb",
    "buffer_subbuf_size_kb",
    "tracing_cpumask",
    "saved_cmdlines_size",
    "tracing_on",
];

#[derive(Debug)]
pub(crate) struct Tracing {
    dir: PathBuf,
    values: Vec<Option<String>>,
}

impl Tracing {
    pub(crate) fn read(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), values: values(dir) }
    }

    /// Puts back what is not as it was.
    ///
    /// # Errors
    ///
    /// Names what a recording has left changed, put back or not.
    pub(crate) fn put_back(&self) -> Outcome<()> {
        let mut changed = Vec::new();
        for ((file, old), new) in FILES.iter().zip(&self.values).zip(values(&self.dir)) {
            let (Some(old), Some(new)) = (old, new) else { continue };
            if *old != new {
                let written = fs::write(self.dir.join(file), old);
                let outcome =
                    written.map_or_else(|error| error.to_string(), |()| "put back".into());
                changed.push(format!("{file} from {old} to {new} ({outcome})"));
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        Err(format!("a recording changed {}", changed.join(", ")).into())
    }
}

fn values(dir: &Path) -> Vec<Option<String>> {
    let read = |file: &&str| {
        let text = fs::read_to_string(dir.join(file)).ok()?;
        // Of several the one in force is in brackets; a size may be followed by what it will be.
        let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        let word = chosen.map_or(text.as_str(), |(word, _)| word);
        word.split_whitespace().next().map(str::to_owned)
    };
    FILES.iter().map(read).collect()
}
