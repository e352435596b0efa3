//! Sleeping until there is something to do, or until told to stop.

use std::io::PipeReader;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// `poll` counts in these.
const TICK: Duration = Duration::from_millis(1);

/// Waits for a descriptor and for the word to stop at the same time.
#[derive(Debug)]
pub(super) struct Waiter {
    stop: Arc<PipeReader>,
    stopped_at: Option<Instant>,
}

impl Waiter {
    /// Stops when the other end of the pipe is closed.
    pub(super) fn new(stop: Arc<PipeReader>) -> Self {
        Self { stop, stopped_at: None }
    }

    /// When the word to stop was seen.
    pub(super) fn stopped_at(&self) -> Option<Instant> {
        self.stopped_at
    }

    /// Looks whether the word to stop has come.
    pub(super) fn is_stopped(&mut self) -> bool {
        if self.stopped_at.is_none() {
            self.wait(None, Duration::ZERO);
        }
        self.stopped_at.is_some()
    }

    /// Sleeps until `wanted` can be done, the word to stop comes, or `limit` is over. Says
    /// whether it can be done; a descriptor that only reports an error or hang-up cannot.
    pub(super) fn wait_for(
        &mut self,
        fd: BorrowedFd<'_>,
        wanted: PollFlags,
        limit: Duration,
    ) -> bool {
        self.wait(Some((fd, wanted)), limit)
    }

    /// Like [`wait_for`](Self::wait_for), and not at all once the word to stop was seen.
    pub(super) fn wait_until_stopped(
        &mut self,
        fd: BorrowedFd<'_>,
        wanted: PollFlags,
        limit: Duration,
    ) -> bool {
        self.stopped_at.is_none() && self.wait_for(fd, wanted, limit)
    }

    /// Sleeps until the word to stop comes, or `limit` is over.
    pub(super) fn rest(&mut self, limit: Duration) {
        if self.stopped_at.is_none() {
            self.wait(None, limit.max(TICK));
        } else {
            std::thread::sleep(limit);
        }
    }

    fn wait(&mut self, other: Option<(BorrowedFd<'_>, PollFlags)>, limit: Duration) -> bool {
        let mut fds = Vec::with_capacity(2);
        if let Some((fd, wanted)) = other {
            fds.push(PollFd::new(fd, wanted));
        }
        // A closed pipe stays readable for ever, so it is watched only until it was seen.
        let watches_stop = self.stopped_at.is_none();
        if watches_stop {
            fds.push(PollFd::new(self.stop.as_fd(), PollFlags::POLLIN));
        }
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        // Interrupted or out of memory: nothing is known, and the caller looks for itself.
        if poll(&mut fds, timeout).is_err() {
            return false;
        }
        let events = |fd: &PollFd<'_>| fd.revents().unwrap_or(PollFlags::empty());
        if watches_stop && fds.last().is_some_and(|fd| !events(fd).is_empty()) {
            self.stopped_at = Some(Instant::now());
        }
        other.is_some_and(|(_, wanted)| fds.first().is_some_and(|fd| events(fd).intersects(wanted)))
    }
}

/// Pauses that grow, for where `poll` says ready and nothing moves.
#[derive(Debug)]
pub(super) struct Backoff {
    pause: Duration,
    most: Duration,
}

impl Backoff {
    pub(super) fn new(most: Duration) -> Self {
        Self { pause: TICK, most: most.max(TICK) }
    }

    pub(super) fn next(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = pause.saturating_mul(2).min(self.most);
        pause
    }

    pub(super) fn reset(&mut self) {
        self.pause = TICK;
    }
}

/// Pauses between looks at a ring buffer whose `poll` says ready all the time: as kernels before 6.1
/// do for every event, and later ones once events were lost. As long as little comes in one, but
/// never so long that the buffer would overflow.
#[derive(Debug)]
pub(super) struct Pace {
    pause: Duration,
    most: Duration,
    /// Bytes of the ring buffer.
    capacity: u64,
}

impl Pace {
    pub(super) fn new(capacity: u64, most: Duration) -> Self {
        Self { pause: TICK, most: most.max(TICK), capacity }
    }

    /// How long to rest after so many bytes were taken since the last look; not at all where the
    /// buffer fills fast.
    pub(super) fn after(&mut self, taken: u64) -> Option<Duration> {
        if taken >= self.capacity / 8 {
            self.pause = (self.pause / 2).max(TICK);
        } else if taken < self.capacity / 32 {
            self.pause = self.pause.saturating_mul(2).min(self.most);
        }
        (taken < self.capacity / 4).then_some(self.pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn closing_the_pipe_ends_every_wait() {
        let (reader, writer) = io::pipe().unwrap();
        let mut waiter = Waiter::new(Arc::new(reader));
        assert!(!waiter.is_stopped());
        drop(writer);
        let started = Instant::now();
        waiter.rest(Duration::from_secs(3600));
        assert!(waiter.is_stopped() && started.elapsed() < Duration::from_secs(600));
    }

    #[test]
    fn a_word_to_stop_that_came_during_a_rest_is_not_slept_over() {
        let (reader, writer) = io::pipe().unwrap();
        let (silent, _never_written) = io::pipe().unwrap();
        let mut waiter = Waiter::new(Arc::new(reader));
        drop(writer);
        waiter.rest(Duration::from_secs(3600));
        let started = Instant::now();
        let limit = Duration::from_secs(3600);
        assert!(!waiter.wait_until_stopped(silent.as_fd(), PollFlags::POLLIN, limit));
        assert!(started.elapsed() < Duration::from_secs(600));
    }

    #[test]
    fn a_buffer_that_fills_is_looked_at_more_often() {
        let mut pace = Pace::new(3200, Duration::from_millis(8));
        let mut after = |taken| pace.after(taken).map(|pause| pause.as_millis());
        assert_eq!([0, 0, 99, 99].map(&mut after), [Some(2), Some(4), Some(8), Some(8)]);
        assert_eq!([200, 400, 900].map(&mut after), [Some(8), Some(4), None]);
        assert_eq!(after(800), None);
        assert_eq!(after(200), Some(1));
    }

    #[test]
    fn pauses_grow_up_to_their_limit() {
        let mut backoff = Backoff::new(Duration::from_millis(3));
        let pauses: Vec<_> = (0..4).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(pauses, [1, 2, 3, 3]);
        backoff.reset();
        assert_eq!(backoff.next(), TICK);
    }
}
