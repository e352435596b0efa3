//! Snapshots: the ring buffer exchanged for a spare one, while tracing goes on.

use std::fs::File;

use crate::control_file::ControlFile;
use crate::error::{Action, Error};
use crate::instance::Instance;

/// What a snapshot is of: all CPUs, or one.
///
/// # Kernel support
/// Needs `CONFIG_TRACER_SNAPSHOT`; for one CPU, `CONFIG_RING_BUFFER_ALLOW_SWAP`.
#[derive(Clone, Debug)]
pub struct Snapshot {
    file: ControlFile,
}

impl Instance {
    /// The snapshot of all CPUs.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { file: self.file("snapshot") }
    }

    /// The snapshot of one CPU.
    pub fn cpu_snapshot(&self, cpu: u32) -> Snapshot {
        Snapshot { file: self.cpu_file(cpu, "snapshot") }
    }
}

impl Snapshot {
    /// Takes it: allocates the spare buffer if there is none, and exchanges the two.
    ///
    /// # Errors
    /// [`Error::NotSupported`], `EBUSY` while a latency tracer uses the spare buffer, or what else
    /// the kernel answers.
    pub fn take(&self) -> Result<(), Error> {
        self.file.write("1")
    }

    /// Empties the spare buffer and keeps its memory.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn reset(&self) -> Result<(), Error> {
        self.file.write("2")
    }

    /// Gives the memory of the spare buffer back. The kernel can do so only for all CPUs at once.
    ///
    /// # Errors
    /// `EINVAL` for one CPU, or what else the kernel answers.
    pub fn free(&self) -> Result<(), Error> {
        self.file.write("0")
    }

    /// Whether the spare buffer has memory.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn is_allocated(&self) -> Result<bool, Error> {
        // A snapshot may be large, and what it says of itself stands at its beginning.
        let head = self.file.read_head(4096)?;
        Ok(!String::from_utf8_lossy(&head).contains("* Snapshot is freed *"))
    }

    /// Opens its text, which may be as long as the ring buffer is.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn open(&self) -> Result<File, Error> {
        File::open(self.file.path()).map_err(|source| self.file.error(Action::Read, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TracingDir;
    use tempfile::TempDir;

    #[test]
    fn one_file_takes_and_resets_and_frees() {
        let temp = TempDir::new().unwrap();
        let top = TracingDir::at(temp.path()).top();
        let file = temp.path().join("snapshot");
        std::fs::write(&file, "# tracer: nop\n#\n#\n# * Snapshot is freed *\n#\n").unwrap();
        let snapshot = top.snapshot();
        assert!(!snapshot.is_allocated().unwrap());
        for (act, word) in [
            (Snapshot::take as fn(&Snapshot) -> Result<(), Error>, "1"),
            (Snapshot::reset, "2"),
            (Snapshot::free, "0"),
        ] {
            act(&snapshot).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), word);
        }
        std::fs::write(&file, "# tracer: nop\n").unwrap();
        assert!(snapshot.is_allocated().unwrap());
    }

    #[test]
    fn a_kernel_without_snapshots_says_so() {
        let temp = TempDir::new().unwrap();
        let top = TracingDir::at(temp.path()).top();
        assert!(matches!(top.cpu_snapshot(0).take(), Err(Error::NotSupported { .. })));
        assert!(matches!(top.snapshot().open(), Err(Error::NotSupported { .. })));
    }
}
