//! Standard output as commands use it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

/// A line on standard error; where nobody reads it any more, the work goes on.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "trace-cmd: {line}");
}

/// Whether standard output goes to a file.
pub(crate) fn is_file() -> bool {
    let file = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    file.and_then(|file| file.metadata()).is_ok_and(|metadata| metadata.is_file())
}

/// Locked standard output without line buffering; large writes go through unsplit.
pub(crate) fn stdout() -> impl Write {
    io::BufWriter::with_capacity(64 * 1024, io::stdout().lock())
}
