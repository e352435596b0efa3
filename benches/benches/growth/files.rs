//! The files, made by this program once more: the peak memory of a process is at least that of the one that
//! started it, so it has to stay small here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use trace_benches::Outcome;
use trace_benches::measure::measure;
use trace_benches::workload::interleaved;
use tracedat::compress::Codec;

/// The first word that makes this program write a file.
pub(crate) const MAKE: &str = "make";

/// Few of the generated events: one task of 24, of which one event of five wakes another.
pub(crate) const FILTER: &str = "sched_waking:pid==1007&&common_pid==1014";

/// How much there is in all files together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) events: u32,
    /// CPUs of each file.
    pub(crate) cpus: u32,
    pub(crate) files: u32,
}

/// Files that go with this value.
pub(crate) struct Made {
    pub(crate) paths: Vec<PathBuf>,
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in &self.paths {
            // What is left goes with the directory.
            let _ = fs::remove_file(path);
        }
    }
}

pub(crate) fn all(shape: Shape, dir: &Path) -> Outcome<Made> {
    let mut made = Made { paths: Vec::new() };
    for number in 0..shape.files {
        let path = dir.join(format!("{number}.dat"));
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(MAKE).arg(&path);
        command.args([number, shape.cpus, shape.events / shape.files].map(|n| n.to_string()));
        measure(&mut command, None)?;
        made.paths.push(path);
    }
    Ok(made)
}

/// Writes the file that `words` tell of: path, seed, CPUs, events.
pub(crate) fn make(words: &[String]) -> Outcome<()> {
    let [path, seed, cpus, events] = words else {
        return Err("a file is PATH SEED CPUS EVENTS".into());
    };
    let trace = interleaved(seed.parse()?, cpus.parse()?, events.parse()?, Codec::Zstd);
    Ok(fs::write(path, &trace.file)?)
}
