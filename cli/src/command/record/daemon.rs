//! `--daemonize`: the recording goes on in a process of its own, once it has begun.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{dup2_stderr, setsid, write};

use super::args::{DAEMONIZE, DAEMONIZED};
use super::summary;
use crate::error::Error;
use crate::exit_code::Exit;
use crate::pid_file;

/// Who can be sent a SIGINT, as the C version has it.
const PID_FILE: &str = "/run/trace-cmd-record.pid";

/// Starts this program once more, without a terminal, and waits until it records.
///
/// # Errors
/// No process could be had. What goes wrong in it, it tells itself.
pub(crate) fn detach(is_quiet: bool) -> Result<Exit, Error> {
    let failed = |error: std::io::Error| {
        Error::failure("cannot go on in the background")
            .because(error)
            .hint("leave --daemonize out")
    };
    let (mut ours, theirs) = UnixStream::pair().map_err(failed)?;
    let mut again = Command::new("/proc/self/exe");
    let mut is_first = true;
    again.args(std::env::args_os().skip(1).map(|word| {
        let is_option = word == DAEMONIZE && std::mem::take(&mut is_first);
        if is_option { DAEMONIZED.into() } else { word }
    }));
    again.stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
    let mut child = again.spawn().map_err(failed)?;
    // Its end is its own now.
    drop(again);
    let mut byte = [0];
    if ours.read(&mut byte).map_err(failed)? == 0 {
        let status = child.wait().map_err(failed)?;
        let exits = [Exit::Usage, Exit::Permission, Exit::BadData, Exit::Guest];
        let same = exits.into_iter().find(|exit| status.code() == Some(*exit as i32));
        return Ok(same.unwrap_or(Exit::Failure));
    }
    let pid = child.id();
    // Without the file it can be stopped all the same.
    let _ = pid_file::write(Path::new(PID_FILE), pid);
    if !is_quiet {
        let text = format!("Recording in the background; stop it with: kill -INT {pid}\n");
        summary::pass_on(&mut std::io::stdout(), text.as_bytes());
    }
    Ok(Exit::Success)
}

/// The process in the background: leaves the terminal.
pub(crate) fn leave_terminal() -> Daemon {
    // One that leads a group already has its own.
    let _ = setsid();
    Daemon
}

/// A recording in the background.
pub(crate) struct Daemon;

impl Daemon {
    /// Tells whoever started it that it records, and says nothing more to its terminal.
    pub(crate) fn has_begun(&self) {
        // Who waits for the end of what is said must not wait for the recording.
        if let Ok(null) = fs::File::options().write(true).open("/dev/null") {
            let _ = dup2_stderr(null);
        }
        // Nobody may wait any more.
        let _ = write(std::io::stdin().as_fd(), b"!");
    }
}

/// What is over cannot be stopped.
impl Drop for Daemon {
    fn drop(&mut self) {
        pid_file::remove_own(Path::new(PID_FILE));
    }
}
