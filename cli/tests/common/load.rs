//! What a recording has to bear.

use std::path::Path;
use std::process::Command;

use super::trace_cmd;

/// Short processes, so that there is something to see.
pub(crate) const LOAD: &str = "for i in 1 2 3 4 5 6 7 8; do ls / >/dev/null; done";

/// Two writers of so many single bytes each: some 180 bytes of trace for every one.
pub(crate) fn flood(count: u32) -> String {
    format!("f() {{ dd if=/dev/zero of=/dev/null bs=1 count={count} 2>/dev/null; }}; f & f; wait")
}

/// A recording that loses events: whoever floods its small buffers comes before who empties them.
pub(crate) fn losing_record(words: &[&str], file: &Path) -> Command {
    let mut record = trace_cmd();
    record.args(["record", "--nice", "19", "-b", "8", "-e", "raw_syscalls"]).args(words);
    record.arg("-o").arg(file).args(["sh", "-c", &flood(300_000)]);
    record
}
