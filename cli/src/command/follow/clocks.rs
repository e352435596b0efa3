//! The clocks of guests while their records are followed.

use trace_virt::time_sync::Clock;
use tracedat::clock::{ErrorBounds, TimeShift};
use tracedat::read::LiveMerge;

use super::guest::LiveGuest;
use crate::command::record::guests::RunningGuest;
use crate::command::record::guests::clock::GuestClock;

/// What is known of the clock of a guest: by its last comparisons, for the time since then.
#[derive(Default)]
pub(super) struct LiveClock {
    /// How many comparisons there were.
    comparisons: u64,
    now: Option<Known>,
    /// By how much its times may have been wrong at most.
    worst: u64,
}

struct Known {
    shift: TimeShift,
    bounds: Option<ErrorBounds>,
}

impl LiveClock {
    /// Corrects the times of records of a file that come from here on.
    pub(super) fn update(
        &mut self,
        guest: &RunningGuest<LiveGuest>,
        (file, records): (usize, &mut LiveMerge),
        (clock, trace_id): (Clock, u64),
    ) {
        // Of one that is gone nothing comes any more.
        if !guest.is_there() {
            return;
        }
        let comparisons = guest.comparisons();
        let is_news = comparisons != self.comparisons;
        if is_news {
            self.comparisons = comparisons;
            self.now = guest.clock(trace_id).map(Known::of).or(self.now.take());
        }
        let (Some(known), Some(time)) = (&self.now, clock.now()) else { return };
        let worst = known.error_at(time);
        if is_news || worst > self.worst {
            self.worst = self.worst.max(worst);
            records.set_clock(file, &known.shift, self.worst);
        }
    }

    /// How often it was compared, and by how much times may have been wrong.
    pub(super) fn outcome(&self) -> (u64, u64) {
        (self.comparisons, self.worst)
    }
}

impl Known {
    fn of(GuestClock { shift, error }: GuestClock) -> Self {
        let bounds = ErrorBounds::of(shift.interpolate, error.samples(0).to_vec());
        Self { shift, bounds }
    }

    /// By how much the time of a record of now may be wrong.
    fn error_at(&self, host_time: u64) -> u64 {
        let last = self.shift.cpus.first().and_then(|samples| samples.last());
        let Some((last, bounds)) = last.zip(self.bounds.as_ref()) else { return 0 };
        let since = host_time.saturating_sub(self.shift.to_host(0, last.time));
        bounds.at(last.time.saturating_add(since))
    }
}
