//! A descriptor that becomes readable when the process is asked to end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Command;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::sys;

/// Turns SIGINT, SIGTERM and SIGHUP into a readable descriptor, for [`Server::run`](crate::server::Server::run)
/// and [`Client::run`](crate::client::Client::run).
#[derive(Debug)]
pub struct StopSignals {
    fd: SignalFd,
}

impl StopSignals {
    /// Blocks the signals in the calling thread (call it before other threads start) and opens the descriptor.
    ///
    /// # Errors
    ///
    /// What the kernel answered.
    pub fn new() -> io::Result<Self> {
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            signals.add(signal);
        }
        signals.thread_block()?;
        let fd = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { fd })
    }

    /// Has a program that is started from here get its signals: a blocked one would stay blocked in it.
    pub fn unblock_in(command: &mut Command) {
        sys::unblock_signals_in(command);
    }
}

impl AsFd for StopSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
