//! Back-pressure: the host's command waits while what it makes cannot leave the guest.

use std::time::{Duration, Instant};

use super::Backlog;

/// How often the ring buffers are looked at.
pub(super) const LOOK: Duration = Duration::from_millis(10);
/// Percent of a ring buffer: from the first on the command waits, from the second on it goes on. The recorder takes
/// what is there when a buffer is half full.
const FULL: u8 = 75;
const ROOM: u8 = 50;

/// What the command has to do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Stay,
    Wait,
    GoOn,
}

/// Stops the command, and counts how often and how long.
pub(super) struct Brake {
    backlog: Backlog,
    since: Option<Instant>,
    times: u32,
    time: Duration,
}

impl Brake {
    pub(super) fn new(backlog: Backlog) -> Self {
        Self { backlog, since: None, times: 0, time: Duration::ZERO }
    }

    /// What is to be done at this time.
    pub(super) fn turn(&mut self, now: Instant) -> Turn {
        let full = (self.backlog)();
        match self.since {
            None if full >= FULL => {
                self.since = Some(now);
                self.times = self.times.saturating_add(1);
                Turn::Wait
            }
            Some(_) if full <= ROOM => {
                self.release(now);
                Turn::GoOn
            }
            _ => Turn::Stay,
        }
    }

    /// The command waits no more.
    pub(super) fn release(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.time = self.time.saturating_add(now.saturating_duration_since(since));
        }
    }

    /// How often and how long it waited.
    pub(super) fn held(&self) -> (u32, Duration) {
        (self.times, self.time)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;

    #[test]
    fn a_command_waits_from_full_to_room_and_its_waits_are_counted() {
        let level = Arc::new(AtomicU8::new(0));
        let shown = Arc::clone(&level);
        let mut brake = Brake::new(Box::new(move || shown.load(Ordering::Relaxed)));
        let start = Instant::now();
        let mut at = |percent, ms| {
            level.store(percent, Ordering::Relaxed);
            brake.turn(start + Duration::from_millis(ms))
        };
        let turns = [(74, 0), (75, 10), (100, 20), (51, 30), (50, 40), (60, 50), (99, 60)];
        let turns = turns.map(|(percent, ms)| at(percent, ms));
        use Turn::{GoOn, Stay, Wait};
        assert_eq!(turns, [Stay, Wait, Stay, Stay, GoOn, Stay, Wait]);
        brake.release(start + Duration::from_millis(65));
        assert_eq!(brake.held(), (2, Duration::from_millis(35)));
    }
}
