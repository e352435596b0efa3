//! Ticks to nanoseconds, guest time to host time: all corrections of time stamps.

mod bound;

pub use bound::{ErrorBounds, ErrorSample, TimeError};

use crate::abi::Abi;
use crate::error::DecodeError;
use crate::layout::OptionId;
use crate::metadata::{Metadata, OptionValue};

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
    /// Makes those nanoseconds in floating point, as release 3.1.6 does: stamps above 2^53 lose
    /// their last digits, and those above 2^64 are 0.
    pub floating: bool,
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

impl TimeShift {
    /// Reads the data of a TIME_SHIFT option.
    ///
    /// # Errors
    /// It breaks off.
    pub fn from_option(data: &[u8], abi: Abi) -> Result<Self, DecodeError> {
        crate::metadata::time_shift(
            &OptionValue { id: OptionId::TIME_SHIFT, offset: 0, data: data.to_vec() },
            abi,
        )
    }

    /// The host's stamp of a guest's CPU's, as readers find it.
    #[must_use]
    pub fn to_host(&self, cpu: u32, stamp: u64) -> u64 {
        ClockCorrection::of(Some(self), cpu, Unit::Nanosecond, 0).apply(stamp)
    }
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

const NSEC_PER_SEC: u32 = 1_000_000_000;

/// All corrections of one CPU's stamps, made ready: guest to host, ticks to nanoseconds, offsets.
#[derive(Clone, Debug, Default)]
pub struct ClockCorrection(Kind);

#[derive(Clone, Debug, Default)]
enum Kind {
    #[default]
    None,
    Add(u64),
    Full(Box<Full>),
}

#[derive(Clone, Debug)]
struct Full {
    interpolate: bool,
    samples: Vec<ClockSample>,
    unit: Unit,
    offset: u64,
}

/// What a tick is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Nanosecond,
    PerSecond(u64),
    Factor(f64),
    Scaled { mult: u32, shift: u32 },
}

impl ClockCorrection {
    /// The corrections for a CPU of a file; a guest's stamps become those of its host, whether
    /// the host's file is read too or not.
    pub fn new(metadata: &Metadata, options: &ClockOptions, cpu: u32) -> Self {
        if options.raw {
            return Self::default();
        }
        let date = if options.no_date { None } else { metadata.date() };
        // Sums wrap as the stamps do: a negative number is one that is added around the end.
        let offset = date
            .unwrap_or(0)
            .wrapping_mul(1000)
            .wrapping_add(metadata.ts_offset().unwrap_or(0))
            .wrapping_add(options.offset);
        let unit = Self::unit(metadata, options);
        Self::of(metadata.time_shift(), cpu, unit, offset.cast_unsigned())
    }

    /// What a tick of a file's host is.
    fn unit(metadata: &Metadata, options: &ClockOptions) -> Unit {
        match (options.ticks_per_second, metadata.tsc_to_nsec()) {
            (0, Some(tsc)) if tsc.mult != 0 => Unit::Scaled { mult: tsc.mult, shift: tsc.shift },
            (0, _) => Unit::Nanosecond,
            (frequency, _) if options.floating => {
                Unit::Factor(f64::from(NSEC_PER_SEC) / frequency as f64)
            }
            (frequency, _) => Unit::PerSecond(frequency),
        }
    }

    fn of(shift: Option<&TimeShift>, cpu: u32, unit: Unit, offset: u64) -> Self {
        let samples = shift.and_then(|shift| shift.cpus.get(cpu as usize));
        let samples = samples.cloned().unwrap_or_default();
        Self(match (samples.is_empty(), unit, offset) {
            (true, Unit::Nanosecond, 0) => Kind::None,
            (true, Unit::Nanosecond, offset) => Kind::Add(offset),
            _ => {
                let interpolate = shift.is_some_and(|shift| shift.interpolate);
                Kind::Full(Box::new(Full { interpolate, samples, unit, offset }))
            }
        })
    }

    /// The same with another correction of the clock of a guest's CPU.
    #[must_use]
    pub(crate) fn shifted_by(self, shift: &TimeShift, cpu: u32) -> Self {
        let (unit, offset) = match self.0 {
            Kind::None => (Unit::Nanosecond, 0),
            Kind::Add(offset) => (Unit::Nanosecond, offset),
            Kind::Full(full) => (full.unit, full.offset),
        };
        Self::of(Some(shift), cpu, unit, offset)
    }

    /// The same corrections, and then `time` becomes 0.
    #[must_use]
    pub(crate) fn counted_from(self, time: u64) -> Self {
        match self.0 {
            _ if time == 0 => self,
            Kind::None => Self(Kind::Add(time.wrapping_neg())),
            Kind::Add(offset) => Self(Kind::Add(offset.wrapping_sub(time))),
            Kind::Full(mut full) => {
                full.offset = full.offset.wrapping_sub(time);
                Self(Kind::Full(full))
            }
        }
    }

    /// Whether a later stamp never has an earlier time, unless a time does not fit into 64 bits.
    pub(crate) fn keeps_order(&self) -> bool {
        match &self.0 {
            Kind::None | Kind::Add(_) => true,
            Kind::Full(full) => full.keeps_order(),
        }
    }

    /// The time of a stamp.
    #[inline]
    pub fn apply(&self, ticks: u64) -> u64 {
        match &self.0 {
            Kind::None => ticks,
            Kind::Add(offset) => ticks.wrapping_add(*offset),
            Kind::Full(full) => full.apply(ticks),
        }
    }
}

impl Full {
    fn apply(&self, ticks: u64) -> u64 {
        self.unit.nanoseconds(self.to_host(ticks)).wrapping_add(self.offset)
    }

    fn keeps_order(&self) -> bool {
        let unit = match self.unit {
            Unit::Scaled { mult, shift } => shift > 32 || mult.cast_signed() >= 0,
            _ => true,
        };
        // Between two samples times lie on a line. Where that ends, the next must not begin lower.
        let mut before = None;
        let mut in_order = |a: &ClockSample, b: &ClockSample| {
            let falls = self.interpolate && b.offset < a.offset;
            let offset = |ticks| if self.interpolate { line(a, b, ticks) } else { a.offset };
            let at = |ticks| a.exact(ticks, offset(ticks));
            let (Some(start), Some(last), Some(end)) =
                (at(a.time), at(b.time.wrapping_sub(1)), at(b.time))
            else {
                return false;
            };
            let follows = before.is_none_or(|before| before <= start);
            before = Some(last);
            // Rounded twice, one that falls goes a step back now and then.
            a.time < b.time && start <= end && follows && !(falls && a.is_scaled())
        };
        unit && self.samples.windows(2).all(|pair| match pair {
            [a, b] => in_order(a, b),
            _ => true,
        })
    }

    /// The host's stamp of a guest's.
    fn to_host(&self, ticks: u64) -> u64 {
        match self.samples.as_slice() {
            [] => ticks,
            [only] => only.scale(ticks).wrapping_add_signed(only.offset),
            samples => {
                // Before the first and after the last sample the nearest two are prolonged.
                let after = samples.partition_point(|sample| sample.time <= ticks);
                let after = after.clamp(1, samples.len() - 1);
                let (a, b) = (&samples[after - 1], &samples[after]);
                let offset = if self.interpolate { line(a, b, ticks) } else { a.offset };
                a.scale(ticks).wrapping_add_signed(offset)
            }
        }
    }
}

impl Unit {
    /// How many nanoseconds so many ticks are.
    fn nanoseconds(self, ticks: u64) -> u64 {
        match self {
            Self::Nanosecond => ticks,
            Self::PerSecond(frequency) => {
                (u128::from(ticks) * u128::from(NSEC_PER_SEC) / u128::from(frequency.max(1))) as u64
            }
            Self::Factor(factor) => floating(ticks, factor),
            Self::Scaled { mult, shift } => cycles_to_nanoseconds(ticks, mult, shift),
        }
    }

    /// By how much that may be too little.
    fn rounding(self) -> u64 {
        u64::from(self != Self::Nanosecond)
    }
}

impl ClockSample {
    /// What becomes of a stamp, if that fits into 64 bits on the way.
    fn exact(&self, ticks: u64, offset: i64) -> Option<u64> {
        let scaled = if self.is_scaled() {
            let product = u128::from(ticks) * u128::from(self.scaling);
            let bits = u32::try_from(self.fraction_bits).unwrap_or(u32::MAX);
            u64::try_from(product.checked_shr(bits).unwrap_or(0)).ok()?
        } else {
            ticks
        };
        scaled.checked_add_signed(offset)
    }

    fn is_scaled(&self) -> bool {
        !matches!((self.scaling, self.fraction_bits), (0 | 1, 0))
    }

    fn scale(&self, ticks: u64) -> u64 {
        if self.is_scaled() { scale(ticks, self.scaling, self.fraction_bits) } else { ticks }
    }
}

/// `(cycles × mult) >> shift` of the whole product. A `mult` with its top bit set, which no kernel
/// makes for a clock above 1 GHz, all readers take for a negative number in the two steps of the
/// kernel's conversion; files that have one are printed as they print them.
fn cycles_to_nanoseconds(cycles: u64, mult: u32, shift: u32) -> u64 {
    if shift > 32 || mult.cast_signed() >= 0 {
        return scale(cycles, mult.into(), shift.into());
    }
    let mult = i64::from(mult.cast_signed()).cast_unsigned();
    let low = (cycles & u64::from(u32::MAX)).wrapping_mul(mult) >> shift;
    let high = (cycles >> 32).wrapping_mul(mult) << (32 - shift);
    low.wrapping_add(high)
}

/// `ticks × factor` in floating point; 0 when it does not fit.
fn floating(ticks: u64, factor: f64) -> u64 {
    let nanoseconds = ticks as f64 * factor;
    if nanoseconds < u64::MAX as f64 { nanoseconds as u64 } else { 0 }
}

/// `(ticks × factor) >> bits` of the whole product; its low 64 bits, where it is larger.
fn scale(ticks: u64, factor: u64, bits: u64) -> u64 {
    let product = u128::from(ticks) * u128::from(factor);
    let bits = u32::try_from(bits).unwrap_or(u32::MAX);
    product.checked_shr(bits).unwrap_or(0) as u64
}

/// The offset at `ticks` on the line through two samples, rounded as other readers do it: half of
/// the divisor is added before the division.
fn line(a: &ClockSample, b: &ClockSample, ticks: u64) -> i64 {
    let span = i128::from(b.time) - i128::from(a.time);
    if span == 0 {
        return a.offset;
    }
    let rise = i128::from(b.offset) - i128::from(a.offset);
    let run = i128::from(ticks) - i128::from(a.time);
    // Only offsets further apart than half of all time overflow.
    let product = run.checked_mul(rise).and_then(|product| product.checked_add(span / 2));
    let Some(product) = product else { return a.offset };
    a.offset.wrapping_add((product / span) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(time: u64, offset: i64) -> ClockSample {
        ClockSample { time, offset, scaling: 1, fraction_bits: 0 }
    }

    fn shifted(interpolate: bool, samples: &[ClockSample]) -> ClockCorrection {
        let shift = TimeShift { peer: 1, interpolate, cpus: vec![vec![], samples.to_vec()] };
        ClockCorrection::of(Some(&shift), 1, Unit::Nanosecond, 0)
    }

    #[test]
    fn one_sample_is_an_offset() {
        let clock = shifted(true, &[sample(1000, -10)]);
        assert_eq!(clock.apply(500), 490);
        assert_eq!(clock.apply(5000), 4990);
    }

    #[test]
    fn offsets_lie_on_the_line_between_two_samples_and_beyond() {
        let clock = shifted(true, &[sample(1000, 100), sample(2000, 200), sample(3000, 0)]);
        assert_eq!(clock.apply(1000), 1100);
        assert_eq!(clock.apply(1505), 1505 + 151);
        // Division goes toward zero, so a falling line lies half a tick higher.
        assert_eq!(clock.apply(2500), 2500 + 101);
        assert_eq!(clock.apply(500), 500 + 51);
        assert_eq!(clock.apply(3500), 3500 - 99);
    }

    #[test]
    fn steps_keep_the_offset_of_the_sample_before() {
        let clock = shifted(false, &[sample(1000, 100), sample(2000, 200), sample(3000, 300)]);
        assert_eq!(clock.apply(999), 1099);
        assert_eq!(clock.apply(1999), 2099);
        assert_eq!(clock.apply(2000), 2200);
        assert_eq!(clock.apply(4000), 4200);
    }

    #[test]
    fn order_is_kept_unless_offsets_fall_faster_than_time_passes() {
        let keeps = |interpolate, samples: &[ClockSample]| {
            let clock = shifted(interpolate, samples);
            let times: Vec<u64> = (0..5000).map(|ticks| clock.apply(100_000 + ticks)).collect();
            assert_eq!(clock.keeps_order(), times.is_sorted(), "{samples:?}");
            clock.keeps_order()
        };
        let at = |time: u64, offset| sample(100_000 + time, offset);
        assert!(keeps(true, &[at(1000, -70)]));
        assert!(keeps(true, &[at(1000, 900), at(2000, 950), at(3000, 550), at(4000, 540)]));
        assert!(!keeps(true, &[at(1000, 900), at(2000, 0), at(3000, -999), at(4000, 5)]));
        assert!(!keeps(true, &[at(1000, 900), at(2000, 0), at(3000, -1100), at(4000, 0)]));
        assert!(keeps(false, &[at(1000, 900), at(2000, 900), at(3000, 1000)]));
        assert!(!keeps(false, &[at(1000, 900), at(2000, 800), at(3000, 1000)]));
        // More than once around the end of all numbers.
        let scaled = ClockSample { time: 1, offset: 0, scaling: 1 << 63, fraction_bits: 0 };
        assert!(!shifted(true, &[scaled, ClockSample { time: 9, ..scaled }]).keeps_order());
    }

    #[test]
    fn scaling_does_not_overflow() {
        // A ratio of 1.5 with 48 bits after the point, on a stamp of two months at 3 GHz.
        let scaled = ClockSample { time: 0, offset: 7, scaling: 3 << 47, fraction_bits: 48 };
        let ticks = 3_000_000_000 * 86_400 * 60;
        assert_eq!(shifted(false, &[scaled]).apply(ticks), ticks / 2 * 3 + 7);
    }

    #[test]
    fn extreme_samples_do_not_overflow() {
        let clock = shifted(true, &[sample(0, i64::MIN), sample(1, i64::MAX)]);
        clock.apply(u64::MAX);
        clock.apply(0);
        shifted(true, &[sample(5, 1), sample(5, 2)]).apply(5);
    }

    #[test]
    fn virtual_cpus_without_samples_are_left_alone() {
        let shift = TimeShift { peer: 1, interpolate: true, cpus: vec![vec![sample(1, 5)]] };
        assert_eq!(ClockCorrection::of(Some(&shift), 1, Unit::Nanosecond, 0).apply(9), 9);
        assert_eq!(ClockCorrection::of(Some(&shift), 0, Unit::Nanosecond, 1).apply(9), 15);
    }

    #[test]
    fn ticks_become_nanoseconds_before_offsets_are_added() {
        let clock = ClockCorrection::of(None, 0, Unit::PerSecond(1000), 5);
        assert_eq!(clock.apply(3), 3_000_005);
        let clock = ClockCorrection::of(None, 0, Unit::PerSecond(2_500_000_000), 0);
        assert_eq!(clock.apply(2_500_000_000 * 1_000_000), 1_000_000_000_000_000);
        let clock = ClockCorrection::of(None, 0, Unit::Scaled { mult: 1 << 30, shift: 31 }, 1);
        assert_eq!(clock.apply(u64::MAX), (u64::MAX >> 1) + 1);
        assert_eq!(ClockCorrection::of(None, 0, Unit::Nanosecond, u64::MAX).apply(9), 8);
    }

    #[test]
    fn conversions_are_those_of_the_reference() {
        let clock = |unit, offset| ClockCorrection::of(None, 0, unit, offset);
        // Printed by release 3.1.6: a multiplier with its sign bit set, 100 s of DATE, -1500 ns.
        let unit = Unit::Scaled { mult: 0xa6aa_aaab, shift: 31 };
        let offset = 100_000_000_000 - 1500;
        assert_eq!(clock(unit, offset).apply(1_211_788_893_300), 18_446_743_336_571_819_780);
        let unit = |frequency: f64| Unit::Factor(1e9 / frequency);
        assert_eq!(clock(unit(1000.0), 0).apply(1_211_787_211_678), 1_211_787_211_678_000_128);
        assert_eq!(clock(unit(99_999.0), 0).apply(1_211_787_211_678), 12_117_993_296_712_966);
        assert_eq!(clock(unit(7.0), 0).apply(1_211_787_211_678), 0);
    }

    #[test]
    fn cycles_become_nanoseconds_by_the_whole_product() {
        for (ticks, mult, shift, expected) in [
            // 3 GHz: a third of a nanosecond.
            (3_000_000_000, 0x5555_5555, 32, 999_999_999),
            (9_000_000_000_000_000_000, 0x5555_5555, 32, 2_999_999_999_301_508_069),
            (u64::MAX, 0x7fff_ffff, 31, 18_446_744_065_119_617_023),
            (u64::MAX, u32::MAX, 33, 9_223_372_034_707_292_159),
            (u64::MAX, 1, 0, u64::MAX),
            (u64::MAX, 1, 63, 1),
            (u64::MAX, u32::MAX, 95, 1),
            (u64::MAX, u32::MAX, 96, 0),
            (u64::MAX, u32::MAX, 127, 0),
            (u64::MAX, u32::MAX, 128, 0),
            (u64::MAX, u32::MAX, u32::MAX, 0),
            (0, u32::MAX, 32, 0),
        ] {
            let clock = ClockCorrection::of(None, 0, Unit::Scaled { mult, shift }, 0);
            assert_eq!(clock.apply(ticks), expected, "({ticks} * {mult}) >> {shift}");
        }
    }

    #[test]
    fn guest_cycles_are_scaled_then_shifted_then_made_nanoseconds() {
        // Half the host's frequency, 48 bits after the point: two host cycles for one.
        let sample =
            |time, offset| ClockSample { time, offset, scaling: 2 << 48, fraction_bits: 48 };
        let first = 1 << 52;
        let samples = vec![sample(first, 1000), sample(first + 1000, 3000)];
        let shift = TimeShift { peer: 1, interpolate: true, cpus: vec![samples] };
        let unit = Unit::Scaled { mult: 1 << 30, shift: 31 };
        let clock = ClockCorrection::of(Some(&shift), 0, unit, 7);
        // (2 * 2^52 + 1000) / 2, and halfway (2 * (2^52 + 500) + 2000) / 2.
        assert_eq!(clock.apply(first), (1 << 52) + 500 + 7);
        assert_eq!(clock.apply(first + 500), (1 << 52) + 1500 + 7);
    }

    #[test]
    fn no_number_makes_a_correction_panic() {
        let extremes = [0, 1, 2, 1 << 31, 1 << 32, 0xb504_f333_f9de_6484, 1 << 63, u64::MAX];
        for (time, offset) in extremes.into_iter().flat_map(|a| extremes.map(|b| (a, b))) {
            for scaling in extremes {
                let last = ClockSample {
                    time: u64::MAX,
                    offset: i64::MAX,
                    scaling,
                    fraction_bits: offset,
                };
                let first = ClockSample { time, offset: offset.cast_signed(), ..last };
                for (interpolate, ticks) in
                    [true, false].into_iter().flat_map(|i| extremes.map(|t| (i, t)))
                {
                    shifted(interpolate, &[first, last]).apply(ticks);
                    shifted(interpolate, &[first]).apply(ticks);
                }
            }
        }
    }

    #[test]
    fn time_counted_from_a_stamp_starts_at_zero() {
        for (unit, offset) in
            [(Unit::Nanosecond, 0), (Unit::Nanosecond, 7), (Unit::PerSecond(1000), 7)]
        {
            let clock = ClockCorrection::of(None, 0, unit, offset);
            let start = clock.apply(50);
            let counted = clock.clone().counted_from(start);
            assert_eq!(counted.apply(50), 0);
            assert_eq!(counted.apply(60), clock.apply(60) - start);
        }
    }
}
