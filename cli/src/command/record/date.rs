//! The distance from a trace clock to wall time, for `--date`.
//!
//! Entries are written to the marker of an instance of its own, between two looks at the wall
//! clock; the tightest pair counts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracefs::{Changes, TracingDir, trace_clock};

use super::local::kernel_error;
use crate::error::Error;

const ATTEMPTS: usize = 50;

/// The distance from a clock to wall time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WallTime {
    /// Microseconds to add to a stamp.
    pub(crate) offset: i64,
    /// By how many microseconds that may be wrong.
    pub(crate) uncertainty: u64,
}

/// What makes wall time of a stamp of `clock` (default: the kernel's).
///
/// # Errors
/// A clock that does not count nanoseconds, or what the kernel refuses.
pub(crate) fn wall_time_of(clock: Option<&str>) -> Result<WallTime, Error> {
    let dir = TracingDir::find_or_mount().map_err(kernel_error)?;
    let mut changes = Changes::new();
    let name = format!("trace-cmd-date-{}", std::process::id());
    let (instance, _) = changes.create_instance(&dir, &name).map_err(kernel_error)?;
    if let Some(clock) = clock {
        if !trace_clock::is_nanoseconds(clock) {
            return Err(Error::usage(format!(
                "--date needs a clock that counts time, not '{clock}'"
            ))
            .hint("leave --date out, or choose another clock with -C"));
        }
        changes.set_trace_clock(&instance, clock).map_err(kernel_error)?;
    }
    let marker = instance.marker().map_err(kernel_error)?;
    let mut looks = Vec::with_capacity(ATTEMPTS);
    for attempt in 0..ATTEMPTS {
        let before = now()?;
        let written = marker.write(format!("{attempt}\n").as_bytes());
        written
            .map_err(|error| Error::failure("cannot write to the trace marker").because(error))?;
        looks.push((before, now()?));
    }
    // An open marker would keep the instance from being removed.
    drop(marker);
    let text = instance.file("trace").read().map_err(kernel_error)?;
    changes
        .restore()
        .map_err(|error| Error::failure("tracing is not as it was before").because(error))?;
    tightest(&looks, &String::from_utf8_lossy(&text)).ok_or_else(|| {
        Error::failure("the trace clock could not be compared with wall time")
            .hint("leave --date out")
    })
}

fn now() -> Result<Duration, Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_err(|error| Error::failure("the wall clock is before 1970").because(error))
}

/// Finds each attempt's entry in the text of `trace`, and the distance of the quickest.
fn tightest(looks: &[(Duration, Duration)], text: &str) -> Option<WallTime> {
    let mut best: Option<(Duration, WallTime)> = None;
    for line in text.lines() {
        let Some((stamp, attempt)) = marker_of(line) else { continue };
        let Some((before, after)) = looks.get(attempt) else { continue };
        // A clock that was set back meanwhile tells nothing.
        let Some(took) = after.checked_sub(*before) else { continue };
        let wall = i64::try_from((*before + took / 2).as_micros()).ok()?;
        if best.is_none_or(|(least, _)| took < least) {
            // Stamps are in whole microseconds, and so is the middle.
            let uncertainty = u64::try_from(took.as_nanos().div_ceil(2000)).ok()? + 1;
            best = Some((took, WallTime { offset: wall.checked_sub(stamp)?, uncertainty }));
        }
    }
    best.map(|(_, distance)| distance)
}

/// Stamp in microseconds and attempt, of a line such as
/// `trace-cmd-77 [001] ..... 12.345678: tracing_mark_write: 5`.
fn marker_of(line: &str) -> Option<(i64, usize)> {
    let (head, attempt) = line.split_once(": tracing_mark_write: ")?;
    let (seconds, micros) = head.rsplit(' ').next()?.split_once('.')?;
    let micros = micros.get(..6)?.parse::<i64>().ok()?;
    let stamp = seconds.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(micros)?;
    Some((stamp, attempt.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quickest_attempt_gives_the_distance() {
        let at = |micros| Duration::from_micros(micros);
        let looks = [(at(5_000_000), at(5_000_900)), (at(6_000_000), at(6_000_010))];
        let text = "# tracer: nop\n\
                    trace-cmd-77 [001] .....  1.000100: tracing_mark_write: 0\n\
                    trace-cmd-77 [001] .....  2.000003: tracing_mark_write: 1\n\
                    trace-cmd-77 [001] .....  2.000004: tracing_mark_write: 99\n";
        let expected = WallTime { offset: 6_000_005 - 2_000_003, uncertainty: 6 };
        assert_eq!(tightest(&looks, text), Some(expected));
        assert_eq!(tightest(&looks, "nothing"), None);
        // Set an hour back in the middle of the first look.
        let hour = 3_600_000_000;
        let looks = [(at(5_000_000 + hour), at(5_000_900)), (at(6_000_000), at(6_000_010))];
        assert_eq!(tightest(&looks, text), Some(expected));
    }
}
