//! How long records wait for CPUs that may still bring older ones.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use trace_virt::time_sync::Clock;
use tracedat::read::LiveMerge;

/// Of one machine: a record waits for CPUs that cannot be read for once to twice as long.
const ALONE: Duration = Duration::from_millis(250);
/// With guests: no record waits longer. Data of a guest is here within two looks at its ring buffers and the way.
const WITH_GUESTS: Duration = Duration::from_millis(700);
/// Bytes that wait at most.
const MAX_HELD: usize = 64 << 20;

/// Lets records go in time.
pub(super) enum Patience {
    /// Of one machine, whose recorder says when a CPU is empty: by what had come some time ago.
    Arrivals { marked: Instant, mark: u64 },
    /// Of several. Nobody says when a guest's CPU is empty, so the clock that all are corrected to decides: what was it
    /// some time ago?
    Clock { clock: Clock, past: VecDeque<(Instant, u64)> },
}

impl Patience {
    /// For one machine.
    pub(super) fn alone() -> Self {
        Self::Arrivals { marked: Instant::now(), mark: 0 }
    }

    /// For machines whose records have this clock's times.
    pub(super) fn with_guests(clock: Clock) -> Self {
        Self::Clock { clock, past: VecDeque::new() }
    }

    /// Lets go what has waited long enough; to be called every now and then.
    pub(super) fn apply(&mut self, records: &mut LiveMerge) {
        let is_too_much = records.held() > MAX_HELD;
        match self {
            Self::Arrivals { marked, mark } => {
                if is_too_much || marked.elapsed() >= ALONE {
                    records.release(*mark);
                    (*marked, *mark) = (Instant::now(), records.newest());
                }
            }
            Self::Clock { clock, past } => {
                past.extend(clock.now().map(|time| (Instant::now(), time)));
                while let Some(&(at, time)) = past.front()
                    && at.elapsed() >= WITH_GUESTS
                {
                    past.pop_front();
                    records.release(time);
                }
                // Whatever times a guest gives its records: they are not kept for ever.
                if is_too_much {
                    records.release_all();
                }
            }
        }
    }
}
