//! Guests that are ready wait for the others, so that all begin at the same time.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long those that are ready wait for one that is not.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens once all who were to come have come, or some time after the first; then it stays open.
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    patience: Duration,
}

struct State {
    awaited: usize,
    opens: Option<Instant>,
}

/// For one who is to come. Dropped, nobody waits for that one any more.
pub(super) struct Ticket<'a>(&'a Gate);

impl Gate {
    pub(super) fn new() -> Self {
        Self::with_patience(PATIENCE)
    }

    fn with_patience(patience: Duration) -> Self {
        let state = Mutex::new(State { awaited: 0, opens: None });
        Self { state, changed: Condvar::new(), patience }
    }

    /// One more is to come. To be called for all before the first comes.
    pub(super) fn ticket(&self) -> Ticket<'_> {
        self.state().awaited += 1;
        Ticket(self)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Numbers are as good after a panic as before.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket<'_> {
    /// Waits until the gate opens.
    pub(super) fn wait(self) {
        let gate = self.0;
        drop(self);
        let mut state = gate.state();
        let opens = *state.opens.get_or_insert_with(|| Instant::now() + gate.patience);
        while state.awaited > 0 {
            let left = opens.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = gate.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.0.state().awaited -= 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn nobody_passes_before_all_have_come_or_given_up() {
        let gate = Gate::with_patience(Duration::from_secs(3600));
        let (come, lost, late) = (AtomicUsize::new(0), gate.ticket(), gate.ticket());
        let tickets: Vec<_> = (0..3).map(|_| gate.ticket()).collect();
        thread::scope(|scope| {
            for ticket in tickets {
                scope.spawn(|| {
                    ticket.wait();
                    assert_eq!(come.load(Ordering::SeqCst), 1);
                });
            }
            drop(lost);
            thread::sleep(Duration::from_millis(50));
            come.store(1, Ordering::SeqCst);
            late.wait();
        });
    }

    #[test]
    fn one_who_does_not_come_holds_nobody_up_for_long() {
        let gate = Gate::with_patience(Duration::from_millis(20));
        let (late, one, other) = (gate.ticket(), gate.ticket(), gate.ticket());
        thread::scope(|scope| {
            scope.spawn(|| one.wait());
            scope.spawn(|| other.wait());
        });
        // It is open, whoever is missing.
        let _missing = gate.ticket();
        late.wait();
    }
}
