//! The trace markers: write text and raw entries into the ring buffer.

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

/// An open `trace_marker_raw`, for writing at little cost.
#[derive(Debug)]
pub struct RawMarker(File);

impl RawMarker {
    /// Bytes of an entry at most, besides its id. A kernel may take fewer.
    pub const LIMIT: usize = 4096 - size_of::<u32>();

    /// Writes one entry: an id and bytes that only its reader understands.
    ///
    /// # Errors
    /// `InvalidInput` for more bytes than [`LIMIT`](Self::LIMIT), or what the kernel answers:
    /// `EINVAL` for more than it takes, `EBADF` while tracing is off.
    pub fn write(&self, id: u32, bytes: &[u8]) -> io::Result<()> {
        // One entry is one write, so the two parts have to stand together.
        let mut entry = [0; size_of::<u32>() + Self::LIMIT];
        let len = size_of::<u32>() + bytes.len();
        let Some(entry) = entry.get_mut(..len) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let (head, tail) = entry.split_at_mut(size_of::<u32>());
        head.copy_from_slice(&id.to_ne_bytes());
        tail.copy_from_slice(bytes);
        (&self.0).write(entry).map(drop)
    }
}

impl Instance {
    /// Opens the marker that takes text.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn marker(&self) -> Result<Marker, Error> {
        self.open_marker("trace_marker").map(Marker)
    }

    /// Opens the marker that takes ids and bytes.
    ///
    /// # Errors
    /// What the kernel answers.
    ///
    /// # Kernel support
    /// Since Linux 4.10.
    pub fn raw_marker(&self) -> Result<RawMarker, Error> {
        self.open_marker("trace_marker_raw").map(RawMarker)
    }

    fn open_marker(&self, name: &str) -> Result<File, Error> {
        let file = self.file(name);
        let opened = OpenOptions::new().write(true).open(file.path());
        opened.map_err(|source| file.error(Action::Write(String::new()), source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TracingDir;
    use tempfile::TempDir;

    #[test]
    fn a_raw_entry_is_its_id_and_its_bytes() {
        let temp = TempDir::new().unwrap();
        let path = temp.path().join("trace_marker_raw");
        std::fs::write(&path, "").unwrap();
        let marker = TracingDir::at(temp.path()).top().raw_marker().unwrap();
        marker.write(7, b"four").unwrap();
        let expected = [&7u32.to_ne_bytes()[..], b"four"].concat();
        assert_eq!(std::fs::read(&path).unwrap(), expected);
        let long = vec![0; RawMarker::LIMIT + 1];
        assert_eq!(marker.write(7, &long).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
