//! How long the other side may take.

use std::time::{Duration, Instant};

/// How long the other side may take. [`Duration::MAX`]: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For each step of the set-up.
    pub step: Duration,
    /// For each message of the metadata: a recorder may have to make it first.
    pub metadata: Duration,
    /// For each message of the end: a listener may have to write what it holds first.
    pub finish: Duration,
}

impl Default for Timeouts {
    /// 5 s, 30 s, 60 s.
    fn default() -> Self {
        Self {
            step: Duration::from_secs(5),
            metadata: Duration::from_secs(30),
            finish: Duration::from_secs(60),
        }
    }
}

/// When `duration` from `now` is over; none when that is never.
pub(super) fn after(now: Instant, duration: Duration) -> Option<Instant> {
    now.checked_add(duration)
}
