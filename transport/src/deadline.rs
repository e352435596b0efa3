//! A moment after which waiting is given up.

use std::time::{Duration, Instant};

use nix::poll::PollTimeout;

/// A moment after which waiting is given up, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// Waits for ever.
    pub const NEVER: Self = Self(None);

    /// Gives up after `duration` from now.
    #[must_use]
    pub fn after(duration: Duration) -> Self {
        Self(Instant::now().checked_add(duration))
    }

    /// The earlier of two deadlines.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(a), Some(b)) => Self(Some(a.min(b))),
            (a, b) => Self(a.or(b)),
        }
    }

    /// Time left: `None` for ever, zero when it has passed.
    #[must_use]
    pub fn remaining(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Whether it has passed.
    #[must_use]
    pub fn has_passed(self) -> bool {
        self.0.is_some_and(|at| at <= Instant::now())
    }

    /// For `poll`: rounded up to a millisecond, so that a wake-up is never too early and then busy.
    #[must_use]
    pub fn poll_timeout(self) -> PollTimeout {
        let Some(left) = self.remaining() else {
            return PollTimeout::NONE;
        };
        let ms = left.as_nanos().div_ceil(1_000_000);
        PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_of_two_deadlines_wins() {
        let near = Deadline::after(Duration::from_millis(1));
        let far = Deadline::after(Duration::from_secs(60));
        assert_eq!(near.min(far), near);
        assert_eq!(Deadline::NEVER.min(far), far);
        assert_eq!(Deadline::NEVER.remaining(), None);
        assert!(!far.has_passed());
    }
}
