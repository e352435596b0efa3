//! What a listener says: on standard output, or in a file.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use crate::error::Error;
use crate::files::open_log;
use crate::output::tell;

/// Where lines go.
#[derive(Debug)]
pub(super) struct Log {
    file: Option<File>,
    is_verbose: bool,
}

impl Log {
    /// Lines go to a file, behind what is there; without one, to standard output.
    pub(super) fn open(path: Option<&Path>, is_verbose: bool) -> Result<Self, Error> {
        let open = |path: &Path| {
            open_log(path).map_err(|error| {
                Error::failure(format!("cannot write {}", path.display()))
                    .because(error)
                    .hint("choose another log with -l FILE")
            })
        };
        Ok(Self { file: path.map(open).transpose()?, is_verbose })
    }

    /// A line about what happened.
    pub(super) fn say(&self, line: &str) {
        let text = format!("{line}\n");
        // Nobody who reads any more is no reason to lose a trace; one write keeps lines whole.
        let _ = match &self.file {
            Some(file) => { file }.write_all(text.as_bytes()),
            None => {
                clear_status();
                io::stdout().write_all(text.as_bytes())
            }
        };
    }

    /// A line about what should not happen.
    pub(super) fn warn(&self, line: &str) {
        match &self.file {
            Some(_) => self.say(line),
            None => {
                clear_status();
                tell(line);
            }
        }
    }

    /// A line for those who want to know more.
    pub(super) fn verbose(&self, line: &str) {
        if self.is_verbose {
            self.say(line);
        }
    }
}

/// The line on a terminal gives way to what is said; it comes again.
fn clear_status() {
    let mut terminal = io::stderr();
    if terminal.is_terminal() {
        let _ = terminal.write_all(b"\r\x1b[K");
    }
}
