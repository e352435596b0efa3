//! Standard output that may be read slowly, or not at all.

use std::io::{self, Write};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signalfd::SignalFd;

/// What a pipe that can be written to takes without waiting.
const STEP: usize = 4096;
/// Milliseconds that a reader has left to go on once it was said that nothing more is wanted.
const LAST_WAIT: u16 = 2000;

/// Standard output. Who waits for its reader can be interrupted, so that tracing is put back.
pub(crate) struct PatientOutput {
    /// Readable while an interruption waits to be noticed.
    interrupted: SignalFd,
}

impl PatientOutput {
    pub(super) fn new(interrupted: SignalFd) -> Self {
        Self { interrupted }
    }

    /// Waits until it can be written to.
    fn wait(&self) -> io::Result<()> {
        let mut timeout = PollTimeout::NONE;
        loop {
            let out = io::stdout();
            let mut fds = vec![PollFd::new(out.as_fd(), PollFlags::POLLOUT)];
            if timeout.is_none() {
                fds.push(PollFd::new(self.interrupted.as_fd(), PollFlags::POLLIN));
            }
            match nix::poll::poll(&mut fds, timeout) {
                Ok(0) => {
                    let message = "interrupted, and nobody reads the output";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, message));
                }
                Ok(_) if fds.first().is_some_and(|fd| fd.any().unwrap_or(false)) => return Ok(()),
                Ok(_) => timeout = LAST_WAIT.into(),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Write for PatientOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait()?;
        let step = bytes.get(..STEP).unwrap_or(bytes);
        Ok(nix::unistd::write(io::stdout(), step)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
