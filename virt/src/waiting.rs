//! What a session in a guest waits for, whichever way its host comes.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};
use trace_transport::{Deadline, Stream};

use crate::client::exec::Exec;
use crate::client::worker::Worker;
use crate::out_queue::OutQueue;

/// Where the kernel cannot tell that a command ended, it is asked so often.
const ASK_CHILD: Duration = Duration::from_millis(20);

/// All that something may come from.
pub(crate) struct Waiting<'a> {
    /// Readable when this side is to end.
    pub(crate) stop: Option<BorrowedFd<'a>>,
    pub(crate) host: &'a Stream,
    /// It may still say something.
    pub(crate) host_is_there: bool,
    /// What the host is to take.
    pub(crate) out: &'a OutQueue,
    pub(crate) worker: Option<&'a Worker>,
    pub(crate) exec: Option<&'a Exec>,
    /// One more that wakes.
    pub(crate) also: Option<BorrowedFd<'a>>,
    pub(crate) deadline: Deadline,
}

/// What came. All else is to be looked at anyway.
pub(crate) struct Ready {
    pub(crate) stop: bool,
    pub(crate) host: bool,
}

impl Waiting<'_> {
    /// Waits until there is something to do, or the deadline has passed.
    pub(crate) fn wait(self) -> nix::Result<Ready> {
        let has_room = self.out.has_room();
        let mut deadline = self.deadline;
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::POLLIN, self.host_is_there);
        wanted.set(PollFlags::POLLOUT, !self.out.is_empty());
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = vec![PollFd::new(self.host.as_fd(), wanted)];
        fds.extend(self.stop.map(readable));
        fds.extend(self.also.map(readable));
        if let Some(worker) = self.worker
            && has_room
        {
            // What cannot be sent now is left where it is.
            fds.push(readable(worker.as_fd()));
        }
        if let Some(exec) = self.exec {
            match exec.end_fd() {
                Some(fd) => fds.push(readable(fd)),
                None => deadline = deadline.min(Deadline::after(ASK_CHILD)),
            }
            if has_room {
                fds.extend(exec.output_fds().map(readable));
            }
        }
        match poll(&mut fds, deadline.poll_timeout()) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        let events =
            |at: usize| fds.get(at).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        let came = PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR;
        Ok(Ready {
            stop: self.stop.is_some() && !events(1).is_empty(),
            host: events(0).intersects(came),
        })
    }
}
