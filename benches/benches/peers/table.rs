//! The table: a line as soon as its figures are known.

use std::fmt;

/// A figure and its unit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Figure {
    Seconds(f64),
    Bytes(f64),
    Count(f64),
    Percent(f64),
    /// Seconds of processor time for 10⁹ bytes.
    PerGigabyte(f64),
}

impl Figure {
    fn value(self) -> f64 {
        match self {
            Self::Seconds(value)
            | Self::Bytes(value)
            | Self::Count(value)
            | Self::Percent(value)
            | Self::PerGigabyte(value) => value,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Seconds(value) if value < 1.0 => write!(f, "{:.1} ms", value * 1e3),
            Self::Seconds(value) => write!(f, "{value:.2} s"),
            Self::Bytes(value) => write!(f, "{:.1} MB", value / 1e6),
            Self::Count(value) if value >= 1e6 => write!(f, "{:.2} M", value / 1e6),
            Self::Count(value) => write!(f, "{value:.0}"),
            Self::Percent(value) => write!(f, "{value:.1} %"),
            Self::PerGigabyte(value) => write!(f, "{value:.3} s/GB"),
        }
    }
}

pub(crate) fn head(machine: &str) {
    println!("{machine}\n");
    println!(
        "| {:<66} | {:>12} | {:>12} | {:>6} | {:>6} |",
        "", "3.1.6", "here", "ratio", "target"
    );
    println!("| {:-<66} | {:->12} | {:->12} | {:->6} | {:->6} |", "", "", "", "", "");
}

/// Prints a line; the ratio says how many times less is needed here, the target how many there
/// should be at least.
pub(crate) fn line(what: &str, unit: fn(f64) -> Figure, theirs: f64, ours: f64, target: &str) {
    let (theirs, ours) = (unit(theirs), unit(ours));
    let ratio = match (theirs.value(), ours.value()) {
        (0.0, 0.0) => "-".to_owned(),
        (_, 0.0) => "∞".to_owned(),
        (theirs, ours) => format!("{:.*}", usize::from(theirs < 10.0 * ours), theirs / ours),
    };
    let (theirs, ours) = (theirs.to_string(), ours.to_string());
    println!("| {what:<66} | {theirs:>12} | {ours:>12} | {ratio:>6} | {target:>6} |");
}
