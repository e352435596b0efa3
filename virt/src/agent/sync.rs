//! The guest's side of the time sync connection, in a thread of its own.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use trace_transport::session::agent::{SyncGuest, SyncGuestEvent};
use trace_transport::{Deadline, Listener, Stream, tcp};

use super::data::{Guard, Signal};
use super::marks::MarkClock;

/// How long a round may take.
const ROUND: Duration = Duration::from_secs(60);
/// How long the host may take nothing.
const SEND: Duration = Duration::from_secs(10);

/// Answers a host's rounds.
#[derive(Debug)]
pub(crate) struct SyncPort {
    thread: Option<JoinHandle<Result<(), String>>>,
    abort: Arc<Signal>,
}

impl SyncPort {
    pub(super) fn open(
        listener: Listener,
        guard: Guard,
        clock: Box<dyn MarkClock>,
    ) -> std::io::Result<Self> {
        Self::spawn(clock, move |thread| thread.run(&listener, &guard))
    }

    /// The same on a connection that was made from here.
    pub(crate) fn over(mut stream: Stream, clock: Box<dyn MarkClock>) -> std::io::Result<Self> {
        Self::spawn(clock, move |mut thread| thread.serve(&mut stream))
    }

    fn spawn(
        clock: Box<dyn MarkClock>,
        answer: impl FnOnce(Thread) -> Result<(), String> + Send + 'static,
    ) -> std::io::Result<Self> {
        let abort = Signal::new()?;
        let thread = Thread { abort: abort.clone(), clock };
        let thread = std::thread::Builder::new()
            .name("time sync".to_owned())
            .spawn(move || answer(thread))?;
        Ok(Self { thread: Some(thread), abort })
    }

    /// Whether the host has said that no more rounds follow, or is gone.
    pub(super) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// What went wrong, if anything; ends a round that is on its way.
    pub(crate) fn finish(mut self) -> Result<(), String> {
        self.abort.raise();
        let joined = self.thread.take().map(JoinHandle::join);
        joined.and_then(Result::ok).unwrap_or(Ok(()))
    }
}

impl Drop for SyncPort {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.abort.raise();
            let _ = thread.join();
        }
    }
}

struct Thread {
    abort: Arc<Signal>,
    clock: Box<dyn MarkClock>,
}

impl Thread {
    fn run(mut self, listener: &Listener, guard: &Guard) -> Result<(), String> {
        let accepted = accept(listener, guard, &self.abort).map_err(|error| error.to_string())?;
        let Some(mut stream) = accepted else { return Ok(()) };
        self.serve(&mut stream)
    }

    fn serve(&mut self, stream: &mut Stream) -> Result<(), String> {
        let mut sync = SyncGuest::new(ROUND);
        loop {
            while let Some(event) =
                sync.next_event(Instant::now()).map_err(|error| error.to_string())?
            {
                match event {
                    SyncGuestEvent::Mark(mark) => self.clock.mark(mark),
                    SyncGuestEvent::Round(cpu) => {
                        go_to(cpu);
                        self.clock.take()?;
                    }
                    SyncGuestEvent::Stamps => {
                        let stamps = self.clock.take()?;
                        sync.stamps(&stamps).map_err(|error| error.to_string())?;
                    }
                    SyncGuestEvent::Stop => return Ok(()),
                }
            }
            let out = sync.output();
            if !out.is_empty() {
                stream.write_all(out, Deadline::after(SEND)).map_err(|error| error.to_string())?;
                let count = out.len();
                sync.sent(count);
                continue;
            }
            let deadline = sync.next_deadline();
            let deadline = deadline.map_or(Deadline::NEVER, |at| {
                Deadline::after(at.saturating_duration_since(Instant::now()))
            });
            tcp::acknowledge_at_once(stream);
            wait(stream.as_fd(), &self.abort, deadline).map_err(|error| error.to_string())?;
            if self.abort.is_raised() {
                return Ok(());
            }
            sync.on_time(Instant::now()).map_err(|error| error.to_string())?;
            match stream.try_read(sync.space()) {
                Ok(Some(0)) => return Ok(()),
                Ok(Some(count)) => sync.filled(count),
                Ok(None) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

/// Waits for the connection; none when it is told to end.
pub(super) fn accept(
    listener: &Listener,
    guard: &Guard,
    abort: &Signal,
) -> std::io::Result<Option<Stream>> {
    loop {
        wait(listener.as_fd(), abort, Deadline::NEVER)?;
        if abort.is_raised() {
            return Ok(None);
        }
        if let Some(stream) = guard.accept(listener)? {
            return Ok(Some(stream));
        }
    }
}

fn wait(
    fd: std::os::fd::BorrowedFd<'_>,
    abort: &Signal,
    deadline: Deadline,
) -> std::io::Result<()> {
    let mut fds =
        [PollFd::new(fd, PollFlags::POLLIN), PollFd::new(abort.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, deadline.poll_timeout()) {
        Ok(_) | Err(nix::Error::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Stamps are to be of this CPU's clock; where it is not to be had, any will do.
fn go_to(cpu: u16) {
    let mut cpus = CpuSet::new();
    if cpus.set(usize::from(cpu)).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &cpus);
    }
}
