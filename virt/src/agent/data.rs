//! One CPU's data: from the recorder's pipe to the host's connection, in a thread of its own.
//!
//! The recorder starts before the host can connect, so that it has something to say by then; what it has meanwhile waits
//! in the pipe and in the kernel's buffer.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use trace_transport::session::Proof;
use trace_transport::splice::{Moved, Mover};
use trace_transport::{Deadline, Listener, Peer, Stream};

use super::same_machine;

/// Bytes moved at once.
const STEP: usize = 1 << 20;
/// What the pipe holds, where the system allows it.
const PIPE: i32 = 1 << 20;
/// How long a host may take to connect or to take anything once the recording has ended.
const LAST: Duration = Duration::from_secs(30);
/// How long a connection may take to prove that it belongs to the session.
const TOKEN: Duration = Duration::from_secs(20);

/// What tells threads of a session to end.
#[derive(Debug)]
pub(super) struct Signal {
    raised: AtomicBool,
    fd: EventFd,
}

impl Signal {
    pub(super) fn new() -> io::Result<Arc<Self>> {
        let fd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Arc::new(Self { raised: AtomicBool::new(false), fd }))
    }

    /// Stays raised.
    pub(super) fn raise(&self) {
        self.raised.store(true, Ordering::Release);
        let _ = self.fd.write(1);
    }

    /// Lets it be waited for again.
    pub(super) fn note(&self) {
        let _ = self.fd.read();
    }

    pub(super) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }
}

impl AsFd for Signal {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Who may connect: the host of the session, and what it says first.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    pub(super) peer: Peer,
    pub(super) token: Option<Proof>,
}

impl Guard {
    /// Accepts the host's connection; none when it is not it.
    pub(super) fn accept(&self, listener: &Listener) -> io::Result<Option<Stream>> {
        let accepted = listener.accept().map_err(io::Error::other)?;
        let Some((mut stream, peer)) = accepted else { return Ok(None) };
        if !same_machine(&self.peer, &peer) {
            return Ok(None);
        }
        let Some(token) = &self.token else { return Ok(Some(stream)) };
        let mut said = [0; size_of::<Proof>()];
        let deadline = Deadline::after(TOKEN);
        let mut filled = 0;
        while let Some(space) = said.get_mut(filled..)
            && !space.is_empty()
        {
            match stream.read_some(space, deadline) {
                Ok(count) if count > 0 => filled += count,
                _ => return Ok(None),
            }
        }
        // It is of this connection only: who compares it by time learns nothing of use.
        Ok((said == *token).then_some(stream))
    }
}

/// Where one CPU's data is to be fetched.
#[derive(Debug)]
pub(super) struct DataPort {
    thread: Option<JoinHandle<u64>>,
    ended: Arc<Signal>,
    abort: Arc<Signal>,
}

impl DataPort {
    /// Listens; gives the recorder's end of the pipe, too. `done` is raised when all was sent.
    pub(super) fn open(
        cpu: u32,
        listener: Listener,
        guard: Guard,
        done: Arc<Signal>,
    ) -> io::Result<(Self, OwnedFd)> {
        let (from, to) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // Less is only slower.
        let _ = fcntl(&to, FcntlArg::F_SETPIPE_SZ(PIPE));
        let (ended, abort) = (Signal::new()?, Signal::new()?);
        let thread = Thread {
            listener,
            guard,
            from,
            ended: ended.clone(),
            abort: abort.clone(),
            mover: Mover::new(),
        };
        let thread =
            std::thread::Builder::new().name(format!("data of CPU {cpu}")).spawn(move || {
                let lost = thread.run();
                done.raise();
                lost
            })?;
        Ok((Self { thread: Some(thread), ended, abort }, to))
    }

    /// The recorder has closed its end: what is in the pipe is the last.
    pub(super) fn end(&self) {
        self.ended.raise();
    }

    /// Whether all was sent, or given up.
    pub(super) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Bytes that nobody took; waits for the end.
    pub(super) fn finish(mut self) -> u64 {
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for DataPort {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.abort.raise();
            let _ = thread.join();
        }
    }
}

struct Thread {
    listener: Listener,
    guard: Guard,
    from: OwnedFd,
    ended: Arc<Signal>,
    abort: Arc<Signal>,
    mover: Mover,
}

impl Thread {
    /// Returns how many bytes nobody took.
    fn run(mut self) -> u64 {
        if let Ok(Some(stream)) = self.accept()
            && self.send(&stream).is_ok()
        {
            let _ = stream.end_sending();
            return 0;
        }
        // The recorder must get rid of its data all the same.
        self.discard().unwrap_or_default()
    }

    /// Waits for the host; none when it does not come.
    fn accept(&self) -> io::Result<Option<Stream>> {
        let mut deadline = Deadline::NEVER;
        loop {
            self.wait(self.listener.as_fd(), PollFlags::POLLIN, &mut deadline)?;
            if self.abort.is_raised() || deadline.has_passed() {
                return Ok(None);
            }
            if let Some(stream) = self.guard.accept(&self.listener)? {
                return Ok(Some(stream));
            }
        }
    }

    fn send(&mut self, stream: &Stream) -> io::Result<()> {
        let mut deadline = Deadline::NEVER;
        loop {
            match self.mover.step(&self.from, stream, None, STEP)? {
                Moved::Bytes(_) => deadline = Deadline::NEVER,
                Moved::End => return Ok(()),
                Moved::SourceEmpty => {
                    let mut never = Deadline::NEVER;
                    self.wait(self.from.as_fd(), PollFlags::POLLIN, &mut never)?;
                }
                Moved::TargetFull => {
                    self.wait(stream.as_fd(), PollFlags::POLLOUT, &mut deadline)?;
                    if deadline.has_passed() {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
            }
            if self.abort.is_raised() {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
    }

    fn discard(&mut self) -> io::Result<u64> {
        let nowhere = OpenOptions::new().write(true).open("/dev/null")?;
        let mut lost = self.mover.pending() as u64;
        self.mover = Mover::new();
        loop {
            match self.mover.step(&self.from, &nowhere, None, STEP)? {
                Moved::Bytes(count) => lost += count as u64,
                Moved::End => return Ok(lost),
                Moved::SourceEmpty | Moved::TargetFull => {
                    if self.abort.is_raised() {
                        return Ok(lost);
                    }
                    let mut never = Deadline::NEVER;
                    self.wait(self.from.as_fd(), PollFlags::POLLIN, &mut never)?;
                }
            }
        }
    }

    /// Waits for a descriptor, or to be told to end: the time that is left runs from then on.
    fn wait(
        &self,
        fd: std::os::fd::BorrowedFd<'_>,
        events: PollFlags,
        deadline: &mut Deadline,
    ) -> io::Result<()> {
        let ended = self.ended.is_raised();
        if ended && *deadline == Deadline::NEVER {
            *deadline = Deadline::after(LAST);
        }
        let mut fds = [
            PollFd::new(fd, events),
            PollFd::new(self.abort.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.ended.as_fd(), PollFlags::POLLIN),
        ];
        // Once it is raised it always is.
        let watched = if ended { &mut fds[..2] } else { &mut fds[..] };
        match poll(watched, deadline.poll_timeout()) {
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}
