//! What is known of a clock whose error nobody states.

/// At guest time `time` the host's is `time + offset`; in ns, or in ticks of the trace clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockSample {
    /// Guest time.
    pub time: u64,
    /// Host minus guest.
    pub offset: i64,
}
