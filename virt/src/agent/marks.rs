//! Stamps of a trace clock, for the time sync.

use trace_transport::session::agent::Mark;

use crate::time_sync::Clock;

/// Stamps of a trace clock.
pub trait MarkClock: Send {
    /// Makes a stamp now. One that fails is missing later, which costs a probe.
    fn mark(&mut self, mark: Mark);

    /// Gives all stamps made since the last call, and forgets them.
    ///
    /// # Errors
    ///
    /// Why they cannot be had.
    fn take(&mut self) -> Result<Vec<(Mark, u64)>, String>;
}

/// A trace clock that a program can read too.
#[derive(Debug)]
pub struct UserClock {
    clock: Clock,
    marks: Vec<(Mark, u64)>,
}

impl UserClock {
    /// No stamps yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, marks: Vec::new() }
    }
}

/// More than any round makes.
const MAX_MARKS: usize = 4096;

impl MarkClock for UserClock {
    fn mark(&mut self, mark: Mark) {
        if let Some(now) = self.clock.now()
            && self.marks.len() < MAX_MARKS
        {
            self.marks.push((mark, now));
        }
    }

    fn take(&mut self) -> Result<Vec<(Mark, u64)>, String> {
        Ok(std::mem::take(&mut self.marks))
    }
}
