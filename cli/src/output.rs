//! Standard output as commands use it.

use std::io::{self, Write};

/// A line on standard error; where nobody reads it any more, the work goes on.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "trace-cmd: {line}");
}

/// Locked standard output without line buffering; large writes go through unsplit.
pub(crate) fn stdout() -> impl Write {
    io::BufWriter::with_capacity(64 * 1024, io::stdout().lock())
}
