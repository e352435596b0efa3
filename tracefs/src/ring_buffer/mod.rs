//! The ring buffer of one CPU, and the ways to take whole sub-buffers from it.
//!
//! Splicing takes sub-buffers that are full and moves them without a copy; reading takes also
//! the one that is being filled, and mapping does so without a copy by the kernel, but for one more
//! call per sub-buffer in which the kernel walks its events. Each consumes: what was taken is not in
//! the buffer any more.

mod map;
mod read;
mod splice;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use crate::error::{Action, Error};
use crate::instance::Instance;

pub(crate) use map::{Found, MappedBuffer};
pub(crate) use read::{SubBuffer, is_partial};
pub(crate) use splice::SplicePipe;

/// How sub-buffers leave the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Way {
    /// The best the kernel and the sink can do, falling back where one refuses.
    #[default]
    Auto,
    /// Moved inside the kernel, without a copy to this process.
    Splice,
    /// Read from memory that is shared with the kernel. Has to be asked for: [`Read`](Self::Read) is
    /// faster.
    ///
    /// # Kernel support
    /// Linux 6.10; not for snapshots.
    Map,
    /// Copied through memory.
    Read,
}

/// An open `trace_pipe_raw`. Its descriptor can be polled: it is readable when the buffer is
/// filled to `buffer_percent`.
#[derive(Debug)]
pub struct CpuBuffer {
    raw: File,
    cpu: u32,
    sub_buffer_size: usize,
}

impl CpuBuffer {
    /// Opens the ring buffer of one CPU; reads do not wait.
    ///
    /// # Errors
    /// What the kernel answers; `EBUSY` while a pipe reader of all CPUs is open.
    pub fn open(instance: &Instance, cpu: u32) -> Result<Self, Error> {
        Self::open_file(instance, cpu, "trace_pipe_raw")
    }

    /// Opens the snapshot of one CPU instead.
    ///
    /// # Errors
    /// What the kernel answers; [`Error::NotSupported`] without `CONFIG_TRACER_SNAPSHOT`.
    pub fn open_snapshot(instance: &Instance, cpu: u32) -> Result<Self, Error> {
        Self::open_file(instance, cpu, "snapshot_raw")
    }

    fn open_file(instance: &Instance, cpu: u32, name: &str) -> Result<Self, Error> {
        let file = instance.cpu_file(cpu, name);
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(file.path());
        let raw = opened.map_err(|source| file.error(Action::Read, source))?;
        Ok(Self { raw, cpu, sub_buffer_size: instance.sub_buffer_size()? })
    }

    /// The CPU.
    pub fn cpu(&self) -> u32 {
        self.cpu
    }

    /// Bytes of a sub-buffer, its header included.
    pub fn sub_buffer_size(&self) -> usize {
        self.sub_buffer_size
    }

    /// Takes one sub-buffer into `into`, which must be [`sub_buffer_size`](Self::sub_buffer_size)
    /// long; what the kernel did not fill is zeroed. `false` if there is no event to take.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn read(&self, into: &mut [u8]) -> io::Result<bool> {
        read::read(&self.raw, into)
    }
}

impl AsFd for CpuBuffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.raw.as_fd()
    }
}
