//! The command that is traced: held before its first instruction until tracing is on.

mod identity;
mod proc_maps;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command};
use std::thread::{self, JoinHandle};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{AccessFlags, access, read, write};

use trace_virt::stop::StopSignals;

use self::proc_maps::Watch;
use crate::error::Error;
use crate::output::tell;
use crate::sys;

pub(super) use proc_maps::{TaskMaps, maps_of};

/// A command that waits, runs, or has ended. One that still waits is ended when dropped.
pub(super) struct Workload {
    program: String,
    pid: i32,
    gate: Option<OwnedFd>,
    state: State,
}

enum State {
    /// Another thread starts it, which takes until its program runs.
    Starting(JoinHandle<io::Result<Child>>),
    Running(Child),
    /// Stopped at its end, so that its memory map can be read.
    Watched(Watch),
    Ended,
}

impl Workload {
    /// Sees whether the command can be run at all, before anything is changed.
    ///
    /// # Errors
    /// There is no such program.
    pub(super) fn check(words: &[String]) -> Result<(), Error> {
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

    /// Makes the process of the command, which waits for [`release`](Self::release); `user` is
    /// whom it runs as.
    ///
    /// # Errors
    /// There is no such user, or no process could be had.
    pub(super) fn hold(words: &[String], user: Option<&str>) -> Result<Option<Self>, Error> {
        let Some((program, arguments)) = words.split_first() else {
            if let Some(user) = user {
                tell(&format!("--user {user} is passed over: there is no command"));
            }
            return Ok(None);
        };
        let failed = |error: io::Error| cannot_run(program, error);
        let mut command = Command::new(program);
        command.args(arguments);
        let identity = user.map(|name| identity::take_on(name, &mut command)).transpose()?;
        StopSignals::unblock_in(&mut command);
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
                .map_err(|error| failed(error.into()))?;
        sys::hold(&mut command, theirs, ours.as_raw_fd(), identity);
        // Starting waits until the program runs, so it is another thread's.
        let start = move || command.spawn();
        let starting = thread::Builder::new().name("trace-command".to_owned()).spawn(start);
        let starting = starting.map_err(failed)?;
        let mut pid = [0; 4];
        let told = read(&ours, &mut pid).unwrap_or(0);
        let pid = i32::from_ne_bytes(pid);
        let mut workload = Self {
            program: program.clone(),
            pid,
            gate: Some(ours),
            state: State::Starting(starting),
        };
        if told != pid.to_ne_bytes().len() {
            workload.gate = None;
            workload.started()?;
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(Some(workload))
    }

    /// Its process.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Has its memory map read when it ends; before [`release`](Self::release).
    pub(super) fn watch_maps(&mut self) {
        if let State::Starting(starting) = std::mem::replace(&mut self.state, State::Ended) {
            self.state = State::Watched(Watch::start(self.pid, starting));
        }
    }

    /// Lets its program run.
    ///
    /// # Errors
    /// The program cannot be run.
    pub(super) fn release(&mut self) -> Result<(), Error> {
        if let Some(gate) = self.gate.take() {
            // One that has gone away meanwhile is told below.
            let _ = write(&gate, b"!");
        }
        self.started()
    }

    fn started(&mut self) -> Result<(), Error> {
        let started = match std::mem::replace(&mut self.state, State::Ended) {
            State::Starting(starting) => {
                joined(starting).map(|child| self.state = State::Running(child))
            }
            State::Watched(mut watch) => {
                let started = watch.started();
                self.state = State::Watched(watch);
                started
            }
            other => {
                self.state = other;
                Ok(())
            }
        };
        started.map_err(|error| cannot_run(&self.program, error))
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        match &mut self.state {
            State::Starting(_) => false,
            State::Running(child) => !matches!(child.try_wait(), Ok(None)),
            State::Watched(watch) => watch.has_ended(),
            State::Ended => true,
        }
    }

    /// Waits for the end of one that runs.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub(super) fn wait(mut self) -> Result<(), Error> {
        let ended = match &mut self.state {
            State::Running(child) => child.wait().map(drop),
            _ => Ok(()),
        };
        ended.map_err(|error| {
            Error::failure(format!("cannot wait for '{}'", self.program)).because(error)
        })
    }

    /// Its memory map as it ended, if it was watched and has.
    pub(super) fn maps(&self) -> Option<TaskMaps> {
        match &self.state {
            // One that still runs can be asked now.
            State::Watched(watch) => watch.maps().or_else(|| maps_of(self.pid)),
            _ => None,
        }
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.gate = None;
        if let State::Starting(starting) = std::mem::replace(&mut self.state, State::Ended) {
            // It ends by itself, as it was not released.
            let _ = starting.join().map(|child| child.map(|mut child| child.wait()));
        }
    }
}

fn joined(starting: JoinHandle<io::Result<Child>>) -> io::Result<Child> {
    starting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn cannot_run(program: &str, error: io::Error) -> Error {
    Error::failure(format!("cannot run '{program}'")).because(error).hint("check its name and PATH")
}
