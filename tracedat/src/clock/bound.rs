//! How wrong a guest's corrected time stamps may be.

use std::sync::Arc;

use super::{ClockCorrection, ClockOptions};
use crate::metadata::Metadata;

/// How wrong a [`TimeShift`](super::TimeShift) may be, as its recorder knows: the option TIME_ERROR.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeError {
    /// Samples by time, for each virtual CPU; the last list counts for all CPUs behind it.
    pub cpus: Vec<Vec<ErrorSample>>,
}

/// The bound at a time, and up to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorSample {
    /// Guest's clock.
    pub time: u64,
    /// Bound of the error at this time, in ticks of the host's clock.
    pub error: u64,
    /// What is to be added to the interpolated [`ErrorSample::error`] up to the next sample.
    pub between: u64,
}

/// Drift that is not known of a single comparison: one part in so many.
const UNKNOWN_DRIFT: u64 = 1_000;
/// Change of a drift that was measured: one part in so many.
const WANDER: u64 = 50_000;

impl TimeError {
    /// The samples of a CPU.
    pub fn samples(&self, cpu: u32) -> &[ErrorSample] {
        let cpu = self.cpus.get(cpu as usize).or(self.cpus.last());
        cpu.map_or(&[], Vec::as_slice)
    }
}

/// The bounds of one CPU's corrected time stamps, by their own time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorBounds {
    interpolate: bool,
    samples: Vec<ErrorSample>,
}

impl ErrorBounds {
    /// The bounds for each virtual CPU of a file whose stamps are corrected as `options` say, in the unit of corrected stamps.
    /// `None` where the file does not tell.
    pub fn of_cpus(metadata: &Metadata, options: &ClockOptions) -> Vec<Option<Arc<Self>>> {
        let (Some(shift), Some(error)) = (metadata.time_shift(), metadata.time_error()) else {
            return Vec::new();
        };
        let lists = error.cpus.iter().take(shift.cpus.len());
        let mut all: Vec<_> = (0..)
            .zip(lists)
            .map(|(cpu, samples)| Self::of_cpu(metadata, options, cpu, samples).map(Arc::new))
            .collect();
        // One list for many CPUs is for those that have one clock.
        if let Some(last) = all.len().checked_sub(1)
            && let Some(clock) = shift.cpus.get(last)
        {
            let shared = all.last().cloned().flatten();
            let others = shift.cpus.iter().skip(all.len());
            all.extend(others.map(|other| shared.clone().filter(|_| other == clock)));
        }
        all
    }

    fn of_cpu(
        metadata: &Metadata,
        options: &ClockOptions,
        cpu: u32,
        samples: &[ErrorSample],
    ) -> Option<Self> {
        let interpolate = metadata.time_shift()?.interpolate;
        let clock = ClockCorrection::new(metadata, options, cpu);
        let unit = ClockCorrection::unit(metadata, options);
        let samples = samples.iter().map(|sample| ErrorSample {
            time: clock.apply(sample.time),
            // Never less than was stated.
            error: unit.nanoseconds(sample.error).saturating_add(unit.rounding()),
            between: unit.nanoseconds(sample.between),
        });
        Self::of(interpolate, samples.collect())
    }

    /// Bounds that are given.
    pub fn of(interpolate: bool, mut samples: Vec<ErrorSample>) -> Option<Self> {
        samples.sort_by_key(|sample| sample.time);
        (!samples.is_empty()).then_some(Self { interpolate, samples })
    }

    /// The bound at a corrected time.
    pub fn at(&self, time: u64) -> u64 {
        let after = self.samples.partition_point(|sample| sample.time <= time);
        match self.samples.as_slice() {
            samples if !self.interpolate => {
                samples.get(after.saturating_sub(1)).map_or(0, ErrorSample::most)
            }
            [] => 0,
            [only] => {
                let apart = only.time.abs_diff(time);
                only.most().saturating_add(apart.div_ceil(UNKNOWN_DRIFT))
            }
            samples => match after {
                0 => beyond(
                    &samples[0],
                    &samples[1],
                    samples[0].time.saturating_sub(time),
                    samples[0].error,
                ),
                _ if after == samples.len() => {
                    let (a, b) = (&samples[after - 2], &samples[after - 1]);
                    let bound = if time == b.time { b.error } else { b.most() };
                    beyond(a, b, time.saturating_sub(b.time), bound)
                }
                _ => inside(&samples[after - 1], &samples[after], time),
            },
        }
    }

    /// The largest bound of the samples and between them.
    pub fn worst(&self) -> u64 {
        self.samples.iter().map(ErrorSample::most).max().unwrap_or(0)
    }

    /// The bound that half of the samples keep, what may happen between them included.
    pub fn median(&self) -> u64 {
        let mut all: Vec<u64> = self.samples.iter().map(ErrorSample::most).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or(0)
    }
}

impl ErrorSample {
    fn most(&self) -> u64 {
        self.error.saturating_add(self.between)
    }
}

fn inside(a: &ErrorSample, b: &ErrorSample, time: u64) -> u64 {
    if time == a.time {
        return a.error;
    }
    let (run, span) = (u128::from(time - a.time), u128::from((b.time - a.time).max(1)));
    let low = a.error.min(b.error);
    let rise = u128::from(a.error.abs_diff(b.error));
    let part = if b.error >= a.error { run } else { span - run };
    // The difference is below 2^64, and so is the part.
    let risen = (rise * part).div_ceil(span) as u64;
    low.saturating_add(risen).saturating_add(a.between)
}

/// Readers prolong the line through two samples, and with it what is wrong with it.
fn beyond(a: &ErrorSample, b: &ErrorSample, apart: u64, bound: u64) -> u64 {
    let span = u128::from((b.time - a.time).max(1));
    let wrong = a.error.saturating_add(b.error).saturating_add(a.between);
    let grown = u128::from(apart).saturating_mul(u128::from(wrong)).div_ceil(span);
    let grown = u64::try_from(grown).unwrap_or(u64::MAX);
    bound.saturating_add(grown).saturating_add(apart.div_ceil(WANDER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::ByteOrder;
    use crate::clock::{ClockSample, TimeShift};
    use crate::read::Reader;
    use crate::testing::Story;
    use crate::write::option;

    fn sample(time: u64, error: u64, between: u64) -> ErrorSample {
        ErrorSample { time, error, between }
    }

    #[test]
    fn bounds_lie_on_the_line_and_what_may_happen_in_between_is_added() {
        let bounds = ErrorBounds::of(
            true,
            vec![sample(1000, 10, 0), sample(2000, 30, 500), sample(3000, 4, 0)],
        );
        let bounds = bounds.unwrap();
        let at = [1000, 1500, 1501, 2000, 2500, 2999, 3000].map(|time| bounds.at(time));
        assert_eq!(at, [10, 20, 21, 30, 517, 505, 4]);
        assert_eq!((bounds.worst(), bounds.median()), (530, 10));
    }

    #[test]
    fn bounds_grow_outside_as_the_slope_is_uncertain() {
        let bounds =
            ErrorBounds::of(true, vec![sample(10_000, 10, 0), sample(20_000, 30, 0)]).unwrap();
        assert_eq!([9_000, 21_000].map(|time| bounds.at(time)), [10 + 4 + 1, 30 + 4 + 1]);
        let one = ErrorBounds::of(true, vec![sample(10_000, 10, 0)]).unwrap();
        assert_eq!([10_000, 12_000, 0].map(|time| one.at(time)), [10, 12, 20]);
    }

    #[test]
    fn steps_have_the_bound_of_the_sample_before() {
        let bounds = ErrorBounds::of(false, vec![sample(100, 1, 0), sample(200, 5, 2)]).unwrap();
        assert_eq!([0, 150, 200, 900].map(|time| bounds.at(time)), [1, 1, 7, 7]);
        assert_eq!(ErrorBounds::of(false, vec![]), None);
    }

    #[test]
    fn one_list_is_for_all_cpus_of_one_clock() {
        let clock = |offset| vec![ClockSample { time: 1000, offset, scaling: 1, fraction_bits: 0 }];
        let cpus = vec![clock(1), clock(2), clock(2), clock(3)];
        let shift = TimeShift { peer: 1, interpolate: false, cpus };
        let error = TimeError { cpus: vec![vec![sample(1000, 7, 0)], vec![sample(1000, 8, 1)]] };
        let order = ByteOrder::Little;
        let story = Story::default().option(option::time_shift(&shift, order));
        let metadata = |story: Story| Reader::parse(story.build()).unwrap().metadata;
        let told = metadata(story.clone().option(option::time_error(&error, order)));
        let bounds = ErrorBounds::of_cpus(&told, &ClockOptions::default());
        let bounds: Vec<_> = bounds.iter().map(|cpu| Some(cpu.as_ref()?.at(2000))).collect();
        assert_eq!(bounds, [Some(7), Some(9), Some(9), None]);
        assert_eq!(ErrorBounds::of_cpus(&metadata(story), &ClockOptions::default()), []);
    }

    #[test]
    fn no_number_makes_a_bound_panic() {
        let extremes = [0, 1, 1 << 63, u64::MAX];
        for (error, between) in extremes.into_iter().flat_map(|a| extremes.map(|b| (a, b))) {
            for (first, second) in [(0, u64::MAX), (5, 5), (1, 2)] {
                let samples = vec![sample(first, error, between), sample(second, between, error)];
                let bounds = ErrorBounds::of(true, samples).unwrap();
                let _ = extremes.map(|time| bounds.at(time));
            }
        }
    }
}
