//! Writing to a file past the page cache, as long as its disk keeps up.
//!
//! A write through the page cache costs a copy and the bookkeeping of every page, most of what a
//! recorder has to do; past it the disk takes the pages of the ring buffer as they are. But then
//! the recorder waits for the disk, and what the page cache would have taken may be lost. So a
//! disk that was slow once gets the next data through the page cache.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use crate::sys;

/// Less than this is gathered by the page cache at less cost.
const WORTH_LEN: usize = 128 << 10;

/// How long the page cache is used after a slow write: doubled each time, and back to the first when
/// so many writes in a row were fast.
const FIRST_REST: Duration = Duration::from_millis(50);
const LONGEST_REST: Duration = Duration::from_secs(5);
const FAST_IN_A_ROW: u32 = 32;

/// How long is counted to know how fast data comes.
const WINDOW: Duration = Duration::from_millis(20);

/// A file opened once more, for writes that go past the page cache.
#[derive(Debug)]
pub(super) struct DirectFile {
    file: File,
    /// What offsets and lengths are multiples of.
    block: u64,
    trust: Trust,
}

impl DirectFile {
    /// Opens `file` again; nothing where its file system has only the page cache. `capacity` is what
    /// the ring buffer holds, in bytes.
    pub(super) fn of(file: &File, capacity: u64) -> Option<Self> {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let mut options = OpenOptions::new();
        let file = options.write(true).custom_flags(libc::O_DIRECT).open(path).ok()?;
        let block = sys::direct_io_block(file.as_fd())?;
        Some(Self { file, block, trust: Trust::new(capacity) })
    }

    /// The descriptor, if writing `len` bytes at `offset` this way is possible and of use now.
    pub(super) fn fit_for(
        &mut self,
        offset: u64,
        len: usize,
        now: Instant,
    ) -> Option<BorrowedFd<'_>> {
        self.trust.count(len as u64, now);
        let is_aligned =
            offset.is_multiple_of(self.block) && (len as u64).is_multiple_of(self.block);
        let fits = is_aligned && len >= WORTH_LEN && self.trust.is_there(now);
        fits.then(|| self.file.as_fd())
    }

    /// Learns how long a write took.
    pub(super) fn learn(&mut self, now: Instant, took: Duration) {
        self.trust.learn(now, took);
    }
}

/// Whether a disk is fast enough to be waited for.
#[derive(Debug)]
struct Trust {
    /// Bytes that may come while a write is waited for.
    room: u64,
    /// Bytes that come in a second.
    rate: f64,
    window: Option<(Instant, u64)>,
    again_at: Option<Instant>,
    rest: Duration,
    fast: u32,
}

impl Trust {
    fn new(capacity: u64) -> Self {
        let (room, rest) = (capacity / 2, FIRST_REST);
        Self { room, rate: 0.0, window: None, again_at: None, rest, fast: 0 }
    }

    /// Counts data that has come.
    fn count(&mut self, len: u64, now: Instant) {
        let (since, bytes) = self.window.unwrap_or((now, 0));
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= WINDOW {
            self.rate = bytes as f64 / elapsed.as_secs_f64();
            self.window = Some((now, len));
        } else {
            self.window = Some((since, bytes.saturating_add(len)));
        }
    }

    fn is_there(&self, now: Instant) -> bool {
        self.again_at.is_none_or(|again_at| now >= again_at)
    }

    fn learn(&mut self, now: Instant, took: Duration) {
        if self.rate * took.as_secs_f64() > self.room as f64 {
            self.again_at = Some(now + self.rest);
            self.rest = self.rest.saturating_mul(2).min(LONGEST_REST);
            self.fast = 0;
            return;
        }
        self.fast = self.fast.saturating_add(1);
        if self.fast >= FAST_IN_A_ROW {
            self.rest = FIRST_REST;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// After 100 MiB in each second for a while, into a ring buffer of 4 MiB.
    fn busy() -> (Trust, Instant) {
        let (mut trust, start) = (Trust::new(4 * MIB), Instant::now());
        for millis in (0..=50).step_by(10) {
            trust.count(MIB, start + ms(millis));
        }
        (trust, start + ms(50))
    }

    #[test]
    fn a_disk_is_slow_when_half_the_ring_buffer_fills_meanwhile() {
        let (mut trust, now) = busy();
        trust.learn(now, ms(15));
        assert!(trust.is_there(now));
        trust.learn(now, ms(25));
        assert!(!trust.is_there(now) && trust.is_there(now + FIRST_REST));
    }

    #[test]
    fn little_data_may_wait_long() {
        let (mut trust, start) = (Trust::new(4 * MIB), Instant::now());
        for second in 0..3 {
            trust.count(MIB, start + ms(1000 * second));
        }
        trust.learn(start + ms(3000), ms(500));
        assert!(trust.is_there(start + ms(3000)));
    }

    #[test]
    fn trust_lost_again_comes_back_later_and_after_a_good_time_at_once() {
        let (mut trust, now) = busy();
        let rest = |trust: &Trust| trust.again_at.unwrap().duration_since(now);
        for times in [1, 2, 4] {
            trust.learn(now, ms(25));
            assert_eq!(rest(&trust), FIRST_REST * times);
        }
        for _ in 0..20 {
            trust.learn(now, ms(25));
        }
        assert_eq!(rest(&trust), LONGEST_REST);
        (0..FAST_IN_A_ROW).for_each(|_| trust.learn(now, ms(1)));
        trust.learn(now, ms(25));
        assert_eq!(rest(&trust), FIRST_REST);
    }

    #[test]
    fn only_whole_blocks_and_much_at_once_go_past_the_page_cache() {
        let file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        // Not every file system can.
        let Some(mut direct) = DirectFile::of(&file, 4 * MIB) else { return };
        let now = Instant::now();
        assert!(direct.fit_for(0, MIB as usize, now).is_some());
        assert!(direct.fit_for(17, MIB as usize, now).is_none());
        assert!(direct.fit_for(0, MIB as usize + 17, now).is_none());
        assert!(direct.fit_for(0, 4096, now).is_none());
    }
}
