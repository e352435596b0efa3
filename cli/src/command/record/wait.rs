//! Runs the traced command and waits for the end of a recording: command done, or Ctrl-C.

use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{AccessFlags, access};

use trace_virt::stop::StopSignals;

use crate::error::Error;

/// SIGINT, SIGTERM, SIGHUP and SIGCHLD as a descriptor.
///
/// Blocks them in this thread, and so in all threads started later.
pub(crate) struct Signals(SignalFd);

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// SIGINT, SIGTERM or SIGHUP.
    Interrupted,
    /// Some child ended.
    Child,
    /// The time is over.
    Timeout,
}

impl Signals {
    /// Takes the signals over.
    pub(crate) fn take() -> Result<Self, Error> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD] {
            set.add(signal);
        }
        let fd = set.thread_block().and_then(|()| {
            SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        });
        fd.map(Self).map_err(|error| Error::failure("cannot take over signals").because(error))
    }

    /// Waits for one signal, at most `limit`.
    pub(crate) fn wait(&self, limit: Option<Duration>) -> Result<Event, Error> {
        let failed = |error: Errno| Error::failure("cannot wait for signals").because(error);
        let timeout = limit.map_or(PollTimeout::NONE, |limit| {
            PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX)
        });
        loop {
            let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            match nix::poll::poll(&mut fds, timeout) {
                Ok(0) => return Ok(Event::Timeout),
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(failed(error)),
            }
            if let Some(info) = self.0.read_signal().map_err(failed)? {
                let child = info.ssi_signo == Signal::SIGCHLD as u32;
                return Ok(if child { Event::Child } else { Event::Interrupted });
            }
        }
    }
}

/// A command that runs while tracing.
pub(crate) struct Workload(Child);

impl Workload {
    /// Sees whether the command can be run at all, before anything is changed.
    ///
    /// # Errors
    /// There is no such program.
    pub(crate) fn check(words: &[String]) -> Result<(), Error> {
        let Some(program) = words.first() else { return Ok(()) };
        let can_run = |path: &Path| access(path, AccessFlags::X_OK).is_ok() && path.is_file();
        let found = if program.contains('/') {
            can_run(Path::new(program))
        } else {
            let places = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&places).any(|place| can_run(&place.join(program)))
        };
        if found {
            return Ok(());
        }
        Err(Error::failure(format!("cannot run '{program}': there is no such program"))
            .hint("check its name and PATH"))
    }

    /// Starts the command.
    pub(crate) fn start(words: &[String]) -> Result<Option<Self>, Error> {
        let Some((program, arguments)) = words.split_first() else {
            return Ok(None);
        };
        let mut command = Command::new(program);
        command.args(arguments);
        StopSignals::unblock_in(&mut command);
        command.spawn().map(|child| Some(Self(child))).map_err(|error| {
            Error::failure(format!("cannot run '{program}'"))
                .because(error)
                .hint("check its name and PATH")
        })
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}
