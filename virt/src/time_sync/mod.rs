//! Guest clock to host clock.

/// At guest time `guest_time`, host time is `guest_time + offset`, wrong by at most `error` (clock ticks, ns for all but `x86-tsc`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Guest clock.
    pub guest_time: u64,
    /// Host minus guest.
    pub offset: i64,
    /// Bound of the error.
    pub error: u64,
}
