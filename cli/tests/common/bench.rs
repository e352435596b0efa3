//! The kernel's tracing, for one test at a time.

use std::path::PathBuf;

use libtest_mimic::Failed;
use trace_virt::lab::requirements::{self, TracefsLock};

use super::{check, tracing_state};

/// The lock, and the state of tracing, which has to be the same at the end.
pub(crate) struct Bench {
    _lock: TracefsLock,
    /// The tracing directory.
    pub(crate) dir: PathBuf,
    /// How it was.
    pub(crate) before: Vec<String>,
}

impl Bench {
    pub(crate) fn new() -> Result<Self, Failed> {
        let lock = TracefsLock::take()?;
        let dir = requirements::tracefs()?;
        Ok(Self { before: tracing_state(&dir), _lock: lock, dir })
    }

    pub(crate) fn is_as_before(&self, what: &str) -> Result<(), Failed> {
        let after = tracing_state(&self.dir);
        check(self.before == after, || {
            let pairs = self.before.iter().zip(&after).filter(|(a, b)| a != b);
            format!("{what} changed tracefs: {:#?}", pairs.collect::<Vec<_>>())
        })
    }
}
