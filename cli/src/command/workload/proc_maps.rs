//! Where a task has its code mapped, so that addresses in its stacks can be told.

use std::fs;
use std::io;
use std::process::Child;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// A task and its memory map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskMaps {
    pub(crate) pid: i32,
    /// Its program.
    pub(crate) name: String,
    /// Start, end and name of each mapping that has a name, a line each.
    pub(crate) lines: String,
}

/// The map of a task as it is now; none if it has gone, or has none.
pub(crate) fn maps_of(pid: i32) -> Option<TaskMaps> {
    let text = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let lines = lines(&text);
    if lines.is_empty() {
        return None;
    }
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let name = program.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    Some(TaskMaps { pid, name, lines })
}

/// What a trace keeps of the text of `maps`.
fn lines(text: &str) -> String {
    let mut kept = String::new();
    for line in text.lines() {
        // ADDRESSES PERMISSIONS OFFSET DEVICE INODE NAME; a name may have blanks.
        let mut rest = line;
        let mut next = || {
            let (word, behind) = rest.trim_start().split_once(' ')?;
            rest = behind;
            Some(word)
        };
        let addresses = next();
        let skipped = (0..4).filter_map(|_| next()).count();
        let name = rest.trim();
        if let (Some((start, end)), 4, false) =
            (addresses.and_then(|range| range.split_once('-')), skipped, name.is_empty())
        {
            kept.push_str(&format!("{start} {end} {name}\n"));
        }
    }
    kept
}

/// A task that is stopped at its end and let go once its map is read.
pub(super) struct Watch {
    starting: Option<JoinHandle<io::Result<Child>>>,
    result: Receiver<Option<TaskMaps>>,
    ended: Option<Option<TaskMaps>>,
}

impl Watch {
    /// Watches a process that another thread is about to start.
    pub(super) fn start(pid: i32, starting: JoinHandle<io::Result<Child>>) -> Self {
        let (tell, result) = mpsc::sync_channel(1);
        let (tell_seized, seized) = mpsc::sync_channel(1);
        let watch = move || {
            let held = ptrace::seize(Pid::from_raw(pid), Options::PTRACE_O_TRACEEXIT);
            let _ = tell_seized.send(());
            // What cannot be stopped is only waited for.
            let _ = tell.send(follow(Pid::from_raw(pid), held.is_ok()));
        };
        // Without a thread its channels are closed, and nothing is known of the task.
        let _ = thread::Builder::new().name("trace-maps".to_owned()).spawn(watch);
        let _ = seized.recv();
        Self { starting: Some(starting), result, ended: None }
    }

    /// Waits until its program runs.
    pub(super) fn started(&mut self) -> io::Result<()> {
        match self.starting.take() {
            Some(starting) => super::joined(starting).map(drop),
            None => Ok(()),
        }
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = match self.result.try_recv() {
                Ok(maps) => Some(maps),
                Err(mpsc::TryRecvError::Empty) => None,
                Err(mpsc::TryRecvError::Disconnected) => Some(None),
            };
        }
        self.ended.is_some()
    }

    /// Its map as it ended.
    pub(super) fn maps(&self) -> Option<TaskMaps> {
        self.ended.clone().flatten()
    }
}

/// Lets the task go on whenever it stops, until it has ended.
fn follow(pid: Pid, is_seized: bool) -> Option<TaskMaps> {
    let mut maps = None;
    loop {
        let signal = match waitpid(pid, Some(WaitPidFlag::__WALL)) {
            Ok(WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXIT)) => {
                maps = maps_of(pid.as_raw());
                None
            }
            Ok(WaitStatus::Stopped(_, signal)) => Some(signal),
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) => return maps,
            Ok(_) | Err(Errno::EINTR) => None,
            Err(_) => return maps,
        };
        if is_seized {
            // One that is not stopped needs no word to go on.
            let _ = ptrace::cont(pid, signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_with_a_name_are_kept() {
        let text = "55d0-55d4 r--p 00000000 fe:00 1234    /usr/bin/with blank\n\
                    55d4-55d5 rw-p 00000000 00:00 0 \n\
                    7ffd-7ffe rw-p 00000000 00:00 0   [stack]\nodd\n";
        assert_eq!(lines(text), "55d0 55d4 /usr/bin/with blank\n7ffd 7ffe [stack]\n");
    }

    #[test]
    fn this_program_has_a_map_with_itself() {
        let maps = maps_of(std::process::id().cast_signed()).unwrap();
        assert!(!maps.name.is_empty() && maps.lines.contains(&maps.name));
        assert_eq!(maps_of(-1), None);
    }
}
