//! Waits for the end of a recording: a child or a task has ended, or Ctrl-C.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::error::Error;
use crate::sys;

/// SIGINT, SIGTERM, SIGHUP and SIGCHLD as a descriptor.
///
/// Blocks them in this thread, and so in all threads started later.
pub(crate) struct Signals(SignalFd);

/// Signals that end a recording.
const INTERRUPTIONS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// SIGINT, SIGTERM or SIGHUP.
    Interrupted,
    /// Some child or task ended.
    Child,
    /// What is watched can be read.
    News,
    /// The time is over.
    Timeout,
}

impl Signals {
    /// Takes the signals over.
    pub(crate) fn take() -> Result<Self, Error> {
        let set: SigSet = INTERRUPTIONS.into_iter().chain([Signal::SIGCHLD]).collect();
        let fd = set.thread_block().and_then(|()| {
            SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        });
        fd.map(Self).map_err(|error| Error::failure("cannot take over signals").because(error))
    }

    /// A descriptor that is readable while SIGINT, SIGTERM or SIGHUP waits to be taken.
    pub(crate) fn interruptions(&self) -> Result<SignalFd, Error> {
        let set: SigSet = INTERRUPTIONS.into_iter().collect();
        SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(|error| Error::failure("cannot see signals").because(error))
    }

    /// Waits for one signal, or the end of a task, at most `limit`.
    pub(crate) fn wait(&self, tasks: &Tasks, limit: Option<Duration>) -> Result<Event, Error> {
        self.wait_with(tasks, None, limit)
    }

    /// The same, and for what is `watched`.
    pub(crate) fn wait_with(
        &self,
        tasks: &Tasks,
        watched: Option<BorrowedFd<'_>>,
        limit: Option<Duration>,
    ) -> Result<Event, Error> {
        let failed = |error: Errno| Error::failure("cannot wait for signals").because(error);
        let timeout = limit.map_or(PollTimeout::NONE, |limit| {
            PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX)
        });
        loop {
            let others = tasks.0.iter().map(OwnedFd::as_fd);
            let fds = std::iter::once(self.0.as_fd()).chain(watched).chain(others);
            let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
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
            let is_ready = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
            if watched.is_some() && fds.get(1).is_some_and(is_ready) {
                return Ok(Event::News);
            }
            if fds.iter().skip(1).any(is_ready) {
                return Ok(Event::Child);
            }
        }
    }
}

/// Tasks that are waited for.
pub(crate) struct Tasks(Vec<OwnedFd>);

impl Tasks {
    /// Takes hold of tasks that run now.
    ///
    /// # Errors
    /// There is no such task.
    pub(crate) fn open(pids: &[i32]) -> Result<Self, Error> {
        let open = |&pid: &i32| {
            sys::pidfd_open(pid).map_err(|error| {
                Error::failure(format!("cannot trace task {pid}"))
                    .because(error)
                    .hint("-P takes the numbers of processes that run")
            })
        };
        Ok(Self(pids.iter().map(open).collect::<Result<_, _>>()?))
    }

    /// Whether none of them runs any more; forgets those that have ended.
    pub(crate) fn have_ended(&mut self) -> bool {
        self.0.retain(|task| {
            let mut fds = [PollFd::new(task.as_fd(), PollFlags::POLLIN)];
            !matches!(nix::poll::poll(&mut fds, PollTimeout::ZERO), Ok(1..))
        });
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_waited_for_until_the_last_has_ended() {
        let start = || std::process::Command::new("sleep").arg("3600").spawn().unwrap();
        let (mut one, mut other) = (start(), start());
        let pids = [one.id().cast_signed(), other.id().cast_signed()];
        let mut tasks = Tasks::open(&pids).unwrap();
        assert!(!tasks.have_ended());
        one.kill().and_then(|()| one.wait().map(drop)).unwrap();
        assert!(!tasks.have_ended());
        other.kill().and_then(|()| other.wait().map(drop)).unwrap();
        assert!(tasks.have_ended());
        assert!(Tasks::open(&pids).is_err());
    }
}
