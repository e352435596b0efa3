//! Standard output as commands use it.

use std::io::{self, Write};

/// Locked standard output without line buffering; large writes go through unsplit.
pub(crate) fn stdout() -> impl Write {
    io::BufWriter::with_capacity(64 * 1024, io::stdout().lock())
}
