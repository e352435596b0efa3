//! The host's side of a recording in a guest.
use std::os::fd::OwnedFd;
use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::setup::{GuestName, VirtDir};
use crate::time_sync::Sample;

/// A guest whose client answers; owns the guest until dropped (others get "busy").
#[derive(Debug)]
pub struct Guest {}

/// What the guest said about itself (hostile text is cleaned, numbers are bounded).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GuestInfo {
    /// CPUs with a data port.
    pub cpus: u32,
    /// Page size of the guest.
    pub page_size: u32,
    /// Version text of its client.
    pub version: String,
}

/// What to record.
#[derive(Debug, Clone, Default)]
pub struct StartRequest {
    /// `record` arguments.
    pub args: Vec<String>,
    /// A command to run in the guest when [`GuestSession::exec`] is called; checked by the guest's policy at the start.
    pub exec: Option<Vec<String>>,
    /// Ties the files of one run together.
    pub trace_id: u64,
    /// The host's trace clock, `None` for no time sync.
    pub host_clock: Option<String>,
    /// The guest's trace clock.
    pub guest_clock: Option<String>,
    /// Time between rounds of time sync; 1 s unless given.
    pub sync_interval: Option<Duration>,
}

/// Which step failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Reaching the guest through the server.
    Connect,
}

/// Why a guest could not be recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// Nobody set this guest up.
    #[error("guest {guest}: no directory {}; run `trace-cmd virt-server --dom {guest} -c CPUS`", path.display())]
    NoDirectory {
        /// The guest.
        guest: String,
        /// What is missing.
        path: std::path::PathBuf,
    },
}

/// Where one CPU's sub-buffers go.
#[derive(Debug)]
pub struct Sink {
    /// A file (not opened for append), pipe or socket.
    pub to: OwnedFd,
    /// Where in the file to start; `None`: at the descriptor's own position.
    pub offset: Option<u64>,
}

/// Something that happened in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// The guest's command wrote to its standard output (1) or standard error (2).
    Output {
        /// 1 or 2.
        stream: u32,
        /// What it wrote.
        bytes: Vec<u8>,
    },
    /// The guest's command ended.
    Exited(ExecStatus),
    /// The guest or the server went away; the session is over, [`GuestSession::close`] gives what was saved.
    Gone,
}

/// How a command in the guest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecStatus {
    /// It ended with this exit code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

/// A recording that runs in a guest.
#[derive(Debug)]
pub struct GuestSession {
    /// What the file needs before the CPU data.
    pub head: Vec<u8>,
    /// CPUs that send data.
    pub cpus: u32,
    /// Bytes per sub-buffer.
    pub sub_buffer_size: u32,
}

/// What one CPU's stream brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CpuReport {
    /// Bytes in the sink.
    pub bytes: u64,
    /// Bytes that came but were not kept (quota, failing sink).
    pub discarded: u64,
    /// Bytes the guest says it sent that never came.
    pub missing: u64,
}

/// How a session ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Finished {
    /// Per CPU.
    pub cpus: Vec<CpuReport>,
    /// What the guest's recorder added at the end.
    pub tail: Vec<u8>,
    /// Guest clock to host clock; empty when clocks cannot be compared.
    pub samples: Vec<Sample>,
    /// What went wrong on the way without making the data useless.
    pub problems: Vec<HostError>,
}

impl Guest {
    /// Reaches a guest through the running server.
    pub fn connect(dir: &VirtDir, name: &GuestName) -> Result<Self, HostError> {
        let _ = (dir, name);
        unimplemented!()
    }
    /// What it said about itself.
    pub fn info(&self) -> &GuestInfo {
        unimplemented!()
    }
    /// Starts a recording; on return the guest records and its head is here.
    pub fn start(self, request: StartRequest) -> Result<GuestSession, HostError> {
        let _ = request;
        unimplemented!()
    }
}

impl GuestSession {
    /// Starts one thread per CPU that moves its data to `sinks[cpu]`, at most `quota` bytes of all CPUs together.
    pub fn collect(&mut self, sinks: Vec<Sink>, quota: Option<u64>) -> Result<(), HostError> {
        let _ = (sinks, quota);
        unimplemented!()
    }
    /// Tells the guest to run the command of the request.
    pub fn exec(&mut self) -> Result<(), HostError> {
        unimplemented!()
    }
    /// What happens, for `select!` over several guests.
    pub fn events(&self) -> &Receiver<SessionEvent> {
        unimplemented!()
    }
    /// Bytes collected so far, all CPUs.
    pub fn bytes(&self) -> u64 {
        unimplemented!()
    }
    /// Stops the guest, drains its data, measures the clocks a last time.
    pub fn close(self) -> Result<Finished, HostError> {
        unimplemented!()
    }
}
