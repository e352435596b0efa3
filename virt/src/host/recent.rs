//! The last comparisons of a guest's clock, for who wants to know them while its session goes on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::time_sync::{Clock, Round, Sample, estimate};

/// Rounds that say how fast the clocks drift apart now; older ones would only cost time.
const KEPT: usize = 8;

#[derive(Debug, Clone, Default)]
pub(super) struct RecentRounds(Arc<Mutex<Recent>>);

#[derive(Debug, Default)]
struct Recent {
    rounds: VecDeque<Round>,
    count: u64,
    guest: Option<Clock>,
}

impl RecentRounds {
    /// Adds one, in which the `guest`'s clock was read.
    pub(super) fn push(&self, round: &Round, guest: Clock) {
        let mut recent = self.recent();
        if recent.rounds.len() == KEPT {
            recent.rounds.pop_front();
        }
        recent.rounds.push_back(round.clone());
        recent.count += 1;
        recent.guest = Some(guest);
    }

    /// How many there were, with those that are forgotten.
    pub(super) fn count(&self) -> u64 {
        self.recent().count
    }

    /// What the last ones say together.
    pub(super) fn samples(&self) -> Vec<Sample> {
        let recent = self.recent();
        let Some(guest) = recent.guest else { return Vec::new() };
        let rounds: Vec<Round> = recent.rounds.iter().cloned().collect();
        drop(recent);
        estimate(&rounds, guest)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time_sync::Probe;

    #[test]
    fn the_last_rounds_count_and_all_are_counted() {
        let recent = RecentRounds::default();
        assert!(recent.samples().is_empty());
        for number in 0..20_u64 {
            let mut round = Round::default();
            let sent = 1_000_000_000 * (number + 1);
            round.push(Probe { sent, guest: sent - 500, received: sent + 100 });
            recent.push(&round, Clock::Mono);
        }
        let times: Vec<_> = recent.samples().iter().map(|one| one.guest_time).collect();
        assert_eq!((recent.count(), times.len()), (20, KEPT));
        assert_eq!(times.first(), Some(&(13_000_000_000 - 500)));
    }
}
