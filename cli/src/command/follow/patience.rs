//! How long records wait for CPUs that may still bring older ones.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use trace_virt::time_sync::Clock;
use tracedat::read::{LiveCpu, LiveMerge};

/// Of one machine: a record waits for CPUs that cannot be read for once to twice as long.
const ALONE: Duration = Duration::from_millis(250);
/// With guests: a record waits so long for CPUs of which nothing comes. Data of a guest is here within two looks at its ring
/// buffers and the way.
const WITH_GUESTS: Duration = Duration::from_millis(700);
/// How often the clock is read.
const TICK: Duration = Duration::from_millis(10);
/// Bytes that wait at most.
const MAX_HELD: usize = 64 << 20;

/// Lets records go in time.
pub(super) enum Patience {
    /// Of one machine, whose recorder says when a CPU is empty: by what had come some time ago.
    Arrivals { marked: Instant, mark: u64 },
    /// Of several, as nobody says when a guest's CPU is empty.
    Clock(ByClock),
}

/// Lets go what is older than some time by the clock that all are corrected to, and than what CPUs have brought of which
/// more is coming. Time is that of the queue: when its next was sent. So nothing is passed over that is in the queue,
/// however slowly that is emptied.
pub(super) struct ByClock {
    clock: Clock,
    /// When it was what.
    past: VecDeque<(Instant, u64)>,
    /// When something of each CPU was sent last.
    brought: Vec<(LiveCpu, Instant)>,
    now: Instant,
}

impl Patience {
    /// For one machine.
    pub(super) fn alone() -> Self {
        Self::Arrivals { marked: Instant::now(), mark: 0 }
    }

    /// For machines whose records have this clock's times.
    pub(super) fn with_guests(clock: Clock) -> Self {
        let (past, brought, now) = (VecDeque::new(), Vec::new(), Instant::now());
        Self::Clock(ByClock { clock, past, brought, now })
    }

    /// Notes that something was sent of a CPU, sub-buffers or only the word that it is empty.
    pub(super) fn came(&mut self, cpu: LiveCpu, at: Instant, has_data: bool) {
        let Self::Clock(ByClock { brought, now, .. }) = self else { return };
        *now = (*now).max(at);
        if has_data {
            match brought.iter_mut().find(|(known, _)| *known == cpu) {
                Some((_, last)) => *last = at,
                None => brought.push((cpu, at)),
            }
        }
    }

    /// Notes that all has come that was sent.
    pub(super) fn all_came(&mut self) {
        if let Self::Clock(ByClock { now, .. }) = self {
            *now = Instant::now();
        }
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
            Self::Clock(by_clock) => {
                by_clock.apply(records);
                // Whatever times a guest gives its records: they are not kept for ever.
                if is_too_much {
                    records.release_all();
                }
            }
        }
    }
}

impl ByClock {
    fn apply(&mut self, records: &mut LiveMerge) {
        if self.past.back().is_none_or(|(at, _)| at.elapsed() >= TICK) {
            self.past.extend(self.clock.now().map(|time| (Instant::now(), time)));
        }
        let now = self.now;
        let is_old = |at: Instant| now.saturating_duration_since(at) >= WITH_GUESTS;
        let mut last = None;
        while let Some(&(at, time)) = self.past.front()
            && is_old(at)
        {
            self.past.pop_front();
            last = Some(time);
        }
        let Some(time) = last else { return };
        let busy = self.brought.iter().filter(|(_, at)| !is_old(*at)).map(|(cpu, _)| *cpu);
        records.release_behind(time, busy);
    }
}
