//! A host's directory with a guest of one CPU that is set up, for as long as the process lives.

use std::fs::File;
use std::path::PathBuf;

use trace_virt::setup::{GuestName, SetupOptions, VirtDir};

/// What the targets about guests share.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) dir: VirtDir,
    pub(crate) guest: GuestName,
    /// What QEMU does: holds the FIFO open both ways.
    _fifo: File,
    temp: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let dir = VirtDir::new(temp.path().join("virt"));
        let guest = GuestName::new("guest").expect("a good name");
        dir.setup(&guest, &SetupOptions { cpus: 1, ..Default::default() }).expect("set up");
        let path = dir.data_fifo(&guest, 0).expect("a FIFO");
        let fifo = File::options().read(true).write(true).open(&path).expect("it can be opened");
        let ports = temp.path().join("ports");
        std::fs::create_dir(&ports).expect("a directory");
        std::os::unix::fs::symlink(&path, ports.join("trace-path-cpu0")).expect("a link");
        Self { dir, guest, _fifo: fifo, temp }
    }

    /// Where the guest finds its ports.
    pub(crate) fn ports(&self) -> PathBuf {
        self.temp.path().join("ports")
    }
}
