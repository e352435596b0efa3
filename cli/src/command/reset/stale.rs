//! Repair of what recordings left that were killed: their journals say what was there before.

use std::io::{self, Write};
use std::path::Path;

use tracefs::TracingDir;
use tracefs::changes::Journal;

use crate::command::record::kernel_error;
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output;

/// Where recordings keep their journals; gone after a boot, as all that they are about.
pub(super) const JOURNALS: &str = "/run/trace-cmd/journals";

/// Puts back what processes that are gone had changed, and says what that was.
pub(super) fn repair(dir: &TracingDir, journals: &Path) -> Result<Exit, Error> {
    let found = Journal::stale(dir, journals).map_err(kernel_error)?;
    let mut out = io::stdout();
    if found.journals.is_empty() && found.unreadable.is_empty() {
        writeln!(out, "nothing to put back")?;
    }
    let mut exit = Exit::Success;
    for error in found.unreadable {
        output::tell(&format!("{}; remove it by hand", kernel_error(error)));
        exit = Exit::Failure;
    }
    for journal in found.journals {
        let (pid, changes) = (journal.pid(), journal.changes().count());
        match journal.repair() {
            Ok(()) => writeln!(out, "put back {changes} changes of process {pid}, which is gone")?,
            Err(error) => {
                output::tell(&format!("process {pid}: {error}"));
                exit = Exit::Failure;
            }
        }
    }
    Ok(exit)
}
