//! The trace marker: writes text and raw entries into the ring buffer.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};

use crate::error::{Action, Error};
use crate::instance::Instance;

/// An open `trace_marker`, for writing at little cost.
#[derive(Debug)]
pub struct Marker(File);

impl Marker {
    /// Writes one entry; the kernel shortens what is longer than it takes.
    ///
    /// # Errors
    /// What the kernel answers; `EBADF` while tracing is off.
    pub fn write(&self, text: &[u8]) -> io::Result<()> {
        (&self.0).write(text).map(drop)
    }
}

impl Instance {
    /// Opens the marker that takes text.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn marker(&self) -> Result<Marker, Error> {
        self.open_marker("trace_marker")
    }

    /// Opens the marker that takes an `id` (`u32`, native byte order) followed by bytes.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn raw_marker(&self) -> Result<Marker, Error> {
        self.open_marker("trace_marker_raw")
    }

    fn open_marker(&self, name: &str) -> Result<Marker, Error> {
        let file = self.file(name);
        let opened = OpenOptions::new().write(true).open(file.path());
        opened.map(Marker).map_err(|source| file.error(Action::Write(String::new()), source))
    }
}
