//! `report --from` and `--to`: which times are printed.

use std::str::FromStr;

use tracedat::error::ReadError;
use tracedat::read::Merge;
use tracedat::report::{ReportInput, ReportOptions, TimeStyle};

use crate::command::seconds::nanoseconds;
use crate::error::Error;
use crate::exit_code::Exit;

/// Half of what the last of six digits stands for, in nanoseconds.
const HALF_MICROSECOND: u64 = 500;

/// A time as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    text: String,
    /// Whether it counts from the first event.
    after_start: bool,
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (text, after_start) = match text.strip_prefix('+') {
            Some(text) => (text, true),
            None => (text, false),
        };
        // Of clocks that count something else there may be more than that many seconds.
        if text.is_empty() || text.starts_with('+') || text.parse::<u64>().is_err() {
            nanoseconds(text)?;
        }
        Ok(Self { text: text.to_owned(), after_start })
    }
}

impl Moment {
    /// Its first and its last nanosecond, or its tick, of a clock that has seconds or not.
    fn span(&self, seconds: bool, options: &ReportOptions) -> Result<(u64, u64), String> {
        if !seconds {
            let ticks =
                self.text.parse().map_err(|_| "this clock counts whole ticks".to_owned())?;
            return Ok((ticks, ticks));
        }
        let time = nanoseconds(&self.text)?;
        let digits = self.text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let is_rounded = digits == 6
            && !self.after_start
            && options.time == TimeStyle::Microseconds
            && options.json.is_none();
        Ok(match is_rounded {
            true => {
                (time.saturating_sub(HALF_MICROSECOND), time.saturating_add(HALF_MICROSECOND - 1))
            }
            false => (time, time),
        })
    }
}

/// Makes times of the first file's clock of what was asked for.
pub(super) fn set(
    options: &mut ReportOptions,
    (from, to): (Option<&Moment>, Option<&Moment>),
    inputs: &[ReportInput<'_>],
    records: &mut Merge,
) -> Result<(), Error> {
    let Some(input) = inputs.first() else { return Ok(()) };
    let seconds = options.shows_seconds(input.metadata);
    let mut time = |option: &str, moment: Option<&Moment>| -> Result<_, Error> {
        let Some(moment) = moment else { return Ok(None) };
        let (first, last) = moment.span(seconds, options).map_err(|cause| {
            Error::usage(format!("{option} {}: {cause}", moment.text))
                .hint("write a time as the lines of the report have it")
        })?;
        // With --align-ts all times count from there.
        let start = match moment.after_start && !options.align_time {
            true => records.next_time().map_err(cannot_read_on)?.unwrap_or(0),
            false => 0,
        };
        Ok(Some((start.saturating_add(first), start.saturating_add(last))))
    };
    let (from, to) = (time("--from", from)?, time("--to", to)?);
    (options.from, options.to) = (from.map(|(first, _)| first), to.map(|(_, last)| last));
    Ok(())
}

fn cannot_read_on(cause: ReadError) -> Error {
    Error::new(Exit::BadData, "cannot read on").because(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &str, seconds: bool, time: TimeStyle) -> Result<(u64, u64), String> {
        let mut options = ReportOptions::default();
        options.time = time;
        text.parse::<Moment>()?.span(seconds, &options)
    }

    #[test]
    fn six_digits_stand_for_all_that_is_printed_so() {
        let rounded = span("2.000001", true, TimeStyle::Microseconds);
        assert_eq!(rounded, Ok((2_000_000_500, 2_000_001_499)));
        let exact = Ok((2_000_001_000, 2_000_001_000));
        assert_eq!(span("2.000001", true, TimeStyle::Nanoseconds), exact);
        assert_eq!(span("2.000001000", true, TimeStyle::Microseconds), exact);
        assert_eq!(span("+2.000001", true, TimeStyle::Microseconds), exact);
    }

    #[test]
    fn ticks_are_whole_and_may_be_many() {
        let most = u64::MAX.to_string();
        assert_eq!(span(&most, false, TimeStyle::Microseconds), Ok((u64::MAX, u64::MAX)));
        span(&most, true, TimeStyle::Microseconds).unwrap_err();
        span("1.5", false, TimeStyle::Microseconds).unwrap_err();
        for wrong in ["", "+", "-1", "1.5s", "++1"] {
            wrong.parse::<Moment>().unwrap_err();
        }
    }
}
