//! From probes to samples: pure arithmetic.

mod bound;

use super::Clock;

/// One probe that was answered: two host times and the guest's in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Host clock when it was sent.
    pub sent: u64,
    /// Guest clock when it was answered.
    pub guest: u64,
    /// Host clock when the answer was here.
    pub received: u64,
}

impl Probe {
    fn trip(&self) -> u64 {
        self.received.saturating_sub(self.sent)
    }

    /// The offset is at least this …
    fn low(&self) -> i128 {
        i128::from(self.sent) - i128::from(self.guest)
    }

    /// … and at most this.
    fn high(&self) -> i128 {
        i128::from(self.received) - i128::from(self.guest)
    }

    fn middle(&self) -> i128 {
        i128::midpoint(self.low(), self.high())
    }
}

/// Probes close together in time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Round(Vec<Probe>);

impl Round {
    /// Adds a probe; one that was received before it was sent is left out.
    pub fn push(&mut self, probe: Probe) {
        if probe.received >= probe.sent {
            self.0.push(probe);
        }
    }

    /// Number of probes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// By how much the offset that these probes show can be wrong; `None` without any.
    #[must_use]
    pub fn bound(&self) -> Option<u64> {
        self.0.iter().map(Probe::trip).min().map(|trip| trip.div_ceil(2))
    }

    /// Keeps the probes that bound the offset best, so that a long recording stays small.
    pub(super) fn reduce(&mut self) {
        const KEPT: usize = 6;
        let mut kept = Vec::with_capacity(3 * KEPT);
        self.0.sort_by_key(Probe::trip);
        kept.extend(self.0.iter().copied().take(KEPT));
        self.0.sort_by_key(|probe| std::cmp::Reverse(probe.low()));
        kept.extend(self.0.iter().copied().take(KEPT));
        self.0.sort_by_key(Probe::high);
        kept.extend(self.0.iter().copied().take(KEPT));
        kept.sort_by_key(|probe| (probe.sent, probe.guest));
        kept.dedup();
        self.0 = kept;
    }

    fn best(&self) -> Option<Probe> {
        self.0.iter().copied().min_by_key(Probe::trip)
    }
}

/// At guest time `guest_time` the host's is `guest_time + offset`, wrong by at most `error`; all in ns, or in ticks of
/// `x86-tsc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Guest clock.
    pub guest_time: u64,
    /// Host minus guest.
    pub offset: i64,
    /// Bound of the error.
    pub error: u64,
    /// What is to be added to the interpolated `error` between this sample and the next: a clock that was set, a machine that
    /// was paused, or another speed in the meantime. Of the last sample, behind it.
    pub between: u64,
}

impl Sample {
    /// Host time of a guest time, interpolated between the samples around it as a reader of the trace file does.
    #[must_use]
    pub fn host_time(samples: &[Self], guest_time: u64) -> Option<u64> {
        let after = samples.partition_point(|sample| sample.guest_time <= guest_time);
        let last = samples.len().checked_sub(2);
        let at = last.map_or(0, |last| after.saturating_sub(1).min(last));
        let offset = match (samples.get(at)?, samples.get(at + 1)) {
            (a, Some(b)) => line(a, b, guest_time),
            (a, None) => i128::from(a.offset),
        };
        u64::try_from(i128::from(guest_time) + offset).ok()
    }
}

/// No two clocks that are only slewed drift faster apart: 500 ppm on each side.
const MAX_DRIFT: f64 = 1e-3;

/// Between samples that are further apart no line can be drawn in numbers of 128 bits, and no clock is.
const MAX_OFFSET: u64 = 1 << 62;

/// A drift is not quite the same all the time: what is allowed on top of what was measured.
const WANDER: f64 = 20e-6;

/// The line at an end is steady when its samples are this many times further apart than they are uncertain (200 ppm).
const END_SLOPE: u128 = 5_000;

/// Turns rounds, in which the `guest`'s clock was read, into samples in order of guest time. Between samples the result is to be interpolated; the corrected time
/// never runs backwards.
#[must_use]
pub fn estimate(rounds: &[Round], guest: Clock) -> Vec<Sample> {
    let mut rounds: Vec<(Probe, &Round)> =
        rounds.iter().filter_map(|round| Some((round.best()?, round))).collect();
    rounds.sort_by_key(|(best, _)| best.sent);

    let bests: Vec<Probe> = rounds.iter().map(|(best, _)| *best).collect();
    let measured: Vec<Sample> = rounds
        .iter()
        .enumerate()
        .filter_map(|(index, (best, round))| overlap(*best, round, drift_around(&bests, index)))
        .collect();
    let mut samples = measured.clone();
    samples.sort_by_key(|sample| sample.guest_time);
    let mut samples = widen_ends(keep_monotone(remove_outliers(samples)));
    bound::state(&mut samples, &measured, guest.can_be_set());
    samples
}

/// Between which speeds the offset changes with guest time.
#[derive(Clone, Copy)]
struct Drift {
    slowest: f64,
    fastest: f64,
}

/// The drift seen by the neighbours of a round. Where a clock was set in between, they say nothing.
fn drift_around(bests: &[Probe], index: usize) -> Drift {
    let neighbours = [index.checked_sub(1).map(|before| (before, index)), Some((index, index + 1))];
    let seen = neighbours.into_iter().flatten().filter_map(|(a, b)| {
        let (a, b) = (bests.get(a)?, bests.get(b)?);
        let span = b.guest.checked_sub(a.guest).filter(|&span| span > 0)? as f64;
        let rate = (b.middle() - a.middle()) as f64 / span;
        let uncertainty = (a.trip() as f64 + b.trip() as f64) / 2.0 / span + WANDER;
        let drift = Drift {
            slowest: (rate - uncertainty).max(-MAX_DRIFT),
            fastest: (rate + uncertainty).min(MAX_DRIFT),
        };
        (drift.slowest <= drift.fastest).then_some(drift)
    });
    let wider = |a: Drift, b: Drift| Drift {
        slowest: a.slowest.min(b.slowest),
        fastest: a.fastest.max(b.fastest),
    };
    seen.reduce(wider).unwrap_or(Drift { slowest: -MAX_DRIFT, fastest: MAX_DRIFT })
}

/// Where the intervals of all probes overlap, moved to the time of the best one.
fn overlap(best: Probe, round: &Round, drift: Drift) -> Option<Sample> {
    let (mut low, mut high) = (best.low(), best.high());
    for probe in &round.0 {
        let apart = (i128::from(best.guest) - i128::from(probe.guest)) as f64;
        let (a, b) = (apart * drift.slowest, apart * drift.fastest);
        low = low.max(probe.low().saturating_add(a.min(b).floor() as i128));
        high = high.min(probe.high().saturating_add(a.max(b).ceil() as i128));
    }
    if low > high {
        // A clock was set in the middle: only a single probe says anything.
        (low, high) = (best.low(), best.high());
    }
    let offset = i64::try_from(i128::midpoint(low, high)).ok()?;
    (offset.unsigned_abs() <= MAX_OFFSET).then_some(())?;
    Some(Sample {
        guest_time: best.guest,
        offset,
        error: u64::try_from((high - low + 1) / 2).ok()?,
        between: 0,
    })
}

/// Leaves out samples that are far less certain than most and say nothing that their neighbours do not say better.
fn remove_outliers(samples: Vec<Sample>) -> Vec<Sample> {
    let mut errors: Vec<u64> = samples.iter().map(|sample| sample.error).collect();
    errors.sort_unstable();
    let Some(&median) = errors.get(errors.len() / 2) else { return samples };
    let certain = |sample: &Sample| sample.error <= median.saturating_mul(4);

    let mut kept: Vec<Sample> = Vec::with_capacity(samples.len());
    for (index, sample) in samples.iter().enumerate() {
        let next =
            samples.get(index + 1..).unwrap_or_default().iter().find(|sample| certain(sample));
        if !certain(sample)
            && let (Some(before), Some(after)) = (kept.last(), next)
        {
            let expected = line(before, after, sample.guest_time);
            if (expected - i128::from(sample.offset)).unsigned_abs() <= u128::from(sample.error) {
                continue;
            }
        }
        kept.push(*sample);
    }
    kept
}

/// Readers continue the line through the first two and the last two samples beyond them. Two that are close together give a
/// line of any slope, so those next to an end are left out until it is known to [`END_SLOPE`].
fn widen_ends(mut samples: Vec<Sample>) -> Vec<Sample> {
    let is_steady = |a: &Sample, b: &Sample| {
        let noise = u128::from(a.error) + u128::from(b.error);
        u128::from(b.guest_time.abs_diff(a.guest_time)) >= noise.saturating_mul(END_SLOPE)
    };
    let is_spare = |a: &Sample, spare: &Sample, b: &Sample| {
        let apart = line(a, b, spare.guest_time) - i128::from(spare.offset);
        apart.unsigned_abs() <= u128::from(spare.error)
    };
    while let [first, second, third, ..] = samples.as_slice()
        && !is_steady(first, second)
        && is_spare(first, second, third)
    {
        samples.remove(1);
    }
    while let [.., third, second, last] = samples.as_slice()
        && !is_steady(second, last)
        && is_spare(third, second, last)
    {
        samples.remove(samples.len() - 2);
    }
    samples
}

/// Leaves out what would make corrected time stand still or run backwards: of two, the less certain.
fn keep_monotone(samples: Vec<Sample>) -> Vec<Sample> {
    let mut kept: Vec<Sample> = Vec::with_capacity(samples.len());
    'next: for sample in samples {
        while let Some(last) = kept.last() {
            let guest = i128::from(sample.guest_time) - i128::from(last.guest_time);
            let host = guest + i128::from(sample.offset) - i128::from(last.offset);
            if guest > 0 && host > 0 {
                break;
            }
            if sample.error >= last.error {
                continue 'next;
            }
            kept.pop();
        }
        kept.push(sample);
    }
    kept
}

/// The offset at a guest time on the line through two samples.
fn line(a: &Sample, b: &Sample, guest_time: u64) -> i128 {
    let span = i128::from(b.guest_time) - i128::from(a.guest_time);
    let rise = i128::from(b.offset) - i128::from(a.offset);
    let along = i128::from(guest_time) - i128::from(a.guest_time);
    match along.checked_mul(rise).map(|product| product.div_euclid(span.max(1))) {
        Some(risen) => i128::from(a.offset) + risen,
        None => i128::from(a.offset),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator with a seed, so that a failure can be repeated.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % limit
        }
    }

    /// A guest clock and the ways to it and back.
    struct Machine {
        offset: i64,
        drift_ppm: i64,
        there: (u64, u64),
        back: (u64, u64),
    }

    const START: u64 = 5_000_000_000_000;

    impl Machine {
        fn guest(&self, host: u64) -> u64 {
            let run = host.cast_signed() - START.cast_signed();
            (host.cast_signed() - self.offset - run / 1_000_000 * self.drift_ppm).cast_unsigned()
        }

        fn round(&self, at: u64, random: &mut Random) -> Round {
            let mut round = Round::default();
            let mut now = at;
            for _ in 0..50 {
                // Now and then somebody is not scheduled for a while.
                let hold_up = if random.below(5) == 0 { random.below(2_000_000) } else { 0 };
                let answered = now + self.there.0 + random.below(self.there.1) + hold_up;
                let received = answered + self.back.0 + random.below(self.back.1);
                round.push(Probe { sent: now, guest: self.guest(answered), received });
                now = received + 10_000;
            }
            round.reduce();
            round
        }

        fn run(&self, seconds: u64, seed: u64) -> Vec<Sample> {
            let mut random = Random(seed);
            let rounds: Vec<_> =
                (0..=seconds).map(|s| self.round(START + s * 1_000_000_000, &mut random)).collect();
            estimate(&rounds, Clock::Mono)
        }
    }

    #[test]
    fn a_known_offset_is_found_within_its_bound() {
        for seed in 0..50_u64 {
            let offset = 123_456_789_000 - 7_000_000_000 * seed.cast_signed();
            let machine =
                Machine { offset, drift_ppm: 0, there: (50_000, 100_000), back: (50_000, 100_000) };
            for sample in machine.run(5, seed) {
                assert!((sample.offset - offset).unsigned_abs() <= sample.error, "{sample:?}");
                assert!(sample.error < 80_000, "{sample:?}");
            }
        }
    }

    #[test]
    fn a_drifting_clock_is_followed_between_the_rounds() {
        for (seed, drift_ppm) in [(1, 300), (2, -300), (3, 900), (4, -50)] {
            let machine = Machine {
                offset: -4_000_000_000,
                drift_ppm,
                there: (40_000, 60_000),
                back: (40_000, 60_000),
            };
            let samples = machine.run(20, seed);
            let worst = samples.iter().map(|sample| sample.error).max().unwrap();
            for tenth in 1..200 {
                let host = START + tenth * 100_000_000;
                let found = Sample::host_time(&samples, machine.guest(host)).unwrap();
                assert!(
                    found.abs_diff(host) <= worst + 2_000,
                    "{drift_ppm} ppm at {tenth}: {}",
                    found.abs_diff(host)
                );
            }
        }
    }

    #[test]
    fn a_lopsided_way_stays_within_the_bound() {
        for (there, back) in
            [((300_000, 50_000), (20_000, 50_000)), ((20_000, 50_000), (300_000, 50_000))]
        {
            let machine = Machine { offset: 77_000_000, drift_ppm: 100, there, back };
            let mut off_by = 0;
            for sample in machine.run(10, 9) {
                let run = (sample.guest_time.cast_signed() - machine.guest(START).cast_signed())
                    / 1_000_000
                    * 100;
                let error = (sample.offset - machine.offset - run).unsigned_abs();
                off_by = off_by.max(error);
                assert!(error <= sample.error + 20, "{error} {sample:?}");
            }
            assert!(off_by > 100_000, "the way is lopsided enough to show: {off_by}");
        }
    }

    #[test]
    fn a_message_never_arrives_before_it_was_sent() {
        for seed in 0..20 {
            let (there, back) = ((200_000, 400_000), (60_000, 400_000));
            let machine = Machine { offset: 1_000_000, drift_ppm: 400, there, back };
            let samples = machine.run(10, seed);
            let mut random = Random(seed ^ 0xabcd);
            for _ in 0..200 {
                let sent = START + random.below(10_000_000_000);
                let arrived = machine.guest(sent + there.0 + random.below(there.1));
                assert!(Sample::host_time(&samples, arrived).unwrap() > sent);
                let answered = START + random.below(10_000_000_000);
                let received = answered + back.0 + random.below(back.1);
                assert!(Sample::host_time(&samples, machine.guest(answered)).unwrap() < received);
            }
        }
    }

    #[test]
    fn a_round_that_was_held_up_is_left_out() {
        let machine =
            Machine { offset: 5_000, drift_ppm: 10, there: (10_000, 5_000), back: (10_000, 5_000) };
        let mut random = Random(3);
        let mut rounds: Vec<_> =
            (0..9).map(|s| machine.round(START + s * 1_000_000_000, &mut random)).collect();
        let late = START + 4_000_000_000;
        let mut held_up = Round::default();
        held_up.push(Probe {
            sent: late,
            guest: machine.guest(late + 40_000_000),
            received: late + 41_000_000,
        });
        rounds[4] = held_up;
        let samples = estimate(&rounds, Clock::Mono);
        assert_eq!(samples.len(), 8);
        assert!(samples.iter().all(|sample| sample.error < 50_000));
    }

    #[test]
    fn what_happens_just_outside_the_samples_is_not_thrown_far_off() {
        for seed in 0..50 {
            let way = (100_000, 300_000);
            let machine = Machine { offset: -9_000_000, drift_ppm: 30, there: way, back: way };
            let mut random = Random(seed);
            let ms = [0, 100, 400, 1_000, 2_000, 3_000, 4_000, 5_000, 5_010];
            let rounds: Vec<_> =
                ms.iter().map(|ms| machine.round(START + ms * 1_000_000, &mut random)).collect();
            let samples = estimate(&rounds, Clock::Mono);
            for outside in [START - 200_000_000, START + 5_300_000_000] {
                let found = Sample::host_time(&samples, machine.guest(outside)).unwrap();
                assert!(found.abs_diff(outside) < 300_000, "{}", found.abs_diff(outside));
            }
        }
    }

    #[test]
    fn corrected_time_never_runs_backwards() {
        let sample = |guest_time, offset, error| Sample { guest_time, offset, error, between: 0 };
        let kept = keep_monotone(vec![
            sample(1_000, 500, 10),
            sample(2_000, -600, 900),
            sample(3_000, 510, 10),
            sample(3_000, 520, 20),
            sample(4_000, 515, 10),
        ]);
        assert_eq!(kept, [sample(1_000, 500, 10), sample(3_000, 510, 10), sample(4_000, 515, 10)]);
    }

    #[test]
    fn hostile_times_give_no_panic() {
        let mut rounds = Vec::new();
        for guest in [0, 1, u64::MAX, u64::MAX / 2, 1 << 63] {
            for (sent, received) in [(0, 0), (0, u64::MAX), (u64::MAX, u64::MAX), (5, 4)] {
                let mut round = Round::default();
                round.push(Probe { sent, guest, received });
                rounds.push(round);
            }
        }
        let samples = estimate(&rounds, Clock::Mono);
        for time in [0, 77, u64::MAX] {
            let _ = Sample::host_time(&samples, time);
        }
        assert_eq!(estimate(&[], Clock::Mono), []);
        assert_eq!(Sample::host_time(&[], 1), None);
    }
}
