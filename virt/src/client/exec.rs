//! A command in the guest: one that the host runs, or that of a recording of its own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use trace_transport::Stream;
use trace_transport::message::Message;

use super::ExecUser;
use super::request::cut;
use crate::out_queue::OutQueue;
use crate::sys;

/// Output that is in the pipes when the command has ended is still sent, up to this.
const LAST_OUTPUT: usize = 1 << 20;
const PIECE: usize = 4096;

/// A running command; killed when it is dropped, with all its group where it has one.
#[derive(Debug)]
pub(crate) struct Exec {
    child: Child,
    /// It is ended as a group of its own.
    has_group: bool,
    /// Readable when the command has ended; `None` on kernels without it.
    pidfd: Option<OwnedFd>,
    output: [Option<Stream>; 2],
    status: Option<ExitStatus>,
}

impl Exec {
    /// Runs a command; one that cannot be run is told as a shell does.
    pub(crate) fn start(
        command: &[String],
        user: Option<&ExecUser>,
        out: &mut OutQueue,
    ) -> Option<Self> {
        let error = match Self::spawn(command, user) {
            Ok(running) => return Some(running),
            Err(error) => error,
        };
        let program = command.first().map_or("", String::as_str);
        let code = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
        let text = format!("{program}: {error}\n");
        let _ = out.push(&Message::Output { stream: 2, bytes: cut(&text).as_bytes() });
        let _ = out.push(&Message::ExecExit { code, signal: 0 });
        None
    }

    fn spawn(command: &[String], user: Option<&ExecUser>) -> std::io::Result<Self> {
        let Some((program, args)) = command.split_first() else {
            return Err(std::io::ErrorKind::InvalidInput.into());
        };
        let mut command = Command::new(program);
        sys::unblock_signals_in(&mut command);
        if let Some(user) = user {
            command.env("USER", &user.name).env("LOGNAME", &user.name).env("HOME", &user.home);
            sys::become_in(&mut command, user.uid, user.gid, user.groups.clone());
        }
        let mut child = command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, to be ended as a whole.
            .process_group(0)
            .spawn()?;
        let stdout = child.stdout.take().and_then(|pipe| Stream::new(pipe.into(), "stdout").ok());
        let stderr = child.stderr.take().and_then(|pipe| Stream::new(pipe.into(), "stderr").ok());
        let pidfd = sys::pidfd_open(child.id()).ok();
        Ok(Self { child, has_group: true, pidfd, output: [stdout, stderr], status: None })
    }

    /// The command of who sits at this terminal: it reads and writes there, and Ctrl-C reaches it, too.
    pub(crate) fn spawn_here(command: &[String]) -> std::io::Result<Self> {
        let Some((program, args)) = command.split_first() else {
            return Err(std::io::ErrorKind::InvalidInput.into());
        };
        let mut command = Command::new(program);
        sys::unblock_signals_in(&mut command);
        let child = command.args(args).spawn()?;
        let pidfd = sys::pidfd_open(child.id()).ok();
        Ok(Self { child, has_group: false, pidfd, output: [None, None], status: None })
    }

    pub(crate) fn end_fd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    pub(crate) fn output_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.output.iter().flatten().map(AsFd::as_fd)
    }

    /// Sends what was written as long as there is room.
    pub(crate) fn pump(&mut self, out: &mut OutQueue) {
        self.copy_output(out, OutQueue::has_room);
    }

    /// The message that tells how it ended, once it has.
    pub(crate) fn poll_end(&mut self, out: &mut OutQueue) -> bool {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        let Some(status) = self.status else { return false };
        let mut budget = LAST_OUTPUT / PIECE;
        self.copy_output(out, |_| {
            budget = budget.saturating_sub(1);
            budget > 0
        });
        let _ = out.push(&exit_message(status));
        true
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // Not yet waited for, so the number still is its own.
        if self.status.is_none()
            && let Ok(pid) = i32::try_from(self.child.id())
        {
            let pid = Pid::from_raw(pid);
            let _ = if self.has_group { killpg(pid, signal) } else { kill(pid, signal) };
        }
    }

    /// Ends it for good.
    pub(crate) fn kill(&mut self, out: &mut OutQueue) {
        self.signal(Signal::SIGKILL);
        self.status = self.child.wait().ok().or(self.status);
        self.poll_end(out);
    }

    fn copy_output(&mut self, out: &mut OutQueue, mut more: impl FnMut(&OutQueue) -> bool) {
        for (place, number) in self.output.iter_mut().zip([1, 2]) {
            let mut buffer = [0; PIECE];
            while let Some(stream) = place
                && more(out)
            {
                match stream.try_read(&mut buffer) {
                    Ok(Some(count)) if count > 0 => {
                        let bytes = buffer.get(..count).unwrap_or_default();
                        let _ = out.push(&Message::Output { stream: number, bytes });
                    }
                    Ok(None) => break,
                    Ok(Some(_)) | Err(_) => *place = None,
                }
            }
        }
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        if self.status.is_none() {
            self.signal(Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

fn exit_message(status: ExitStatus) -> Message<'static> {
    match (status.code(), status.signal()) {
        (Some(code), _) => Message::ExecExit { code, signal: 0 },
        (None, signal) => Message::ExecExit { code: -1, signal: signal.unwrap_or(0) },
    }
}
