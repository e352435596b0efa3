//! Ticks to nanoseconds, guest time to host time: all corrections of time stamps.

/// How time stamps are corrected, apart from what the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClockOptions {
    /// Leaves stamps as they were recorded (`--raw-ts`).
    pub raw: bool,
    /// Does not make wall-clock time of them (`--nodate`).
    pub no_date: bool,
    /// Added to every stamp, in nanoseconds (`--ts-offset`).
    pub offset: i64,
    /// Frequency of the clock, in Hz, to make nanoseconds of ticks (`--ts2secs`); 0 for none.
    pub ticks_per_second: u64,
}

/// Correction of a guest's clock to that of its host, measured while recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeShift {
    /// Trace id of the host's file.
    pub peer: u64,
    /// Whether offsets between two samples lie on the line between them.
    pub interpolate: bool,
    /// Samples of every virtual CPU, by time.
    pub cpus: Vec<Vec<ClockSample>>,
}

/// What host and guest clock had to do with one another at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockSample {
    /// Guest's clock.
    pub time: u64,
    /// To add to the guest's stamps.
    pub offset: i64,
    /// Factor on the guest's stamps, a fixed-point number.
    pub scaling: u64,
    /// Bits of [`ClockSample::scaling`] after the point.
    pub fraction_bits: u64,
}
