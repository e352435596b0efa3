//! How wrong the line between two samples may be.
//!
//! The samples are as certain as they say, but in between a clock may have been set, a machine paused, or the drift changed. All
//! three show as an offset that is not where the line of the neighbours leads: from before and from behind. A clock that was
//! set misses both by as much as it was set; a drift that changed strays by less than the smaller of the two.

use super::{MAX_DRIFT, Sample, WANDER, line};

/// Samples that are looked through for a line that is long enough.
const MAX_STEPS: usize = 64;

/// States for each sample what may go wrong up to the next. `measured` are all that were taken, in the order of the host's
/// time, those included that were left out; the clock may have been set back when it `can_be_set`.
pub(super) fn state(samples: &mut [Sample], measured: &[Sample], can_be_set: bool) {
    let strays: Vec<u64> =
        (0..samples.len()).map(|index| stray(samples, index).unwrap_or(0)).collect();
    for (sample, stray) in samples.iter_mut().zip(strays) {
        sample.between = stray;
    }
    if let [.., before, last] = samples {
        last.between = before.between;
    }
    for left_out in measured {
        include(samples, left_out);
    }
    for (before, after) in measured.iter().zip(measured.iter().skip(1)) {
        if was_set_back(before, after, can_be_set) {
            include_times_twice(samples, before, after);
        }
    }
}

/// How far the offset may stray between a sample and the next.
fn stray(samples: &[Sample], index: usize) -> Option<u64> {
    let (a, b) = (samples.get(index)?, samples.get(index + 1)?);
    let span = span(a, b);
    let rise = rise(a, b);
    let missed = |slope: f64| (rise - slope * span).abs();
    let before = slope((0..=index).rev().map_while(|at| samples.get(at)), span);
    let after = slope(samples.iter().skip(index + 1), span);
    let missed = match (before, after) {
        (Some(before), Some(after)) => missed(before).min(missed(after)),
        (Some(slope), None) | (None, Some(slope)) => missed(slope),
        (None, None) => rise.abs(),
    };
    // What lies between two samples happened between them on the host, too.
    let most = (span + rise).max(0.0);
    Some((missed.min(most) + WANDER * span / 4.0).ceil() as u64)
}

/// The slope from the first of some samples to the first that is as far away as `long`, or to the last before a clock was set.
fn slope<'a>(mut samples: impl Iterator<Item = &'a Sample>, long: f64) -> Option<f64> {
    let first = samples.next()?;
    let mut last = first;
    for sample in samples.take(MAX_STEPS) {
        let noise = last.error as f64 + sample.error as f64;
        if rise(last, sample).abs() > span(last, sample).abs() * MAX_DRIFT + noise {
            break;
        }
        last = sample;
        if span(first, last).abs() >= long {
            break;
        }
    }
    let span = span(first, last);
    (span != 0.0).then(|| rise(first, last) / span)
}

fn span(a: &Sample, b: &Sample) -> f64 {
    (i128::from(b.guest_time) - i128::from(a.guest_time)) as f64
}

fn rise(a: &Sample, b: &Sample) -> f64 {
    (i128::from(b.offset) - i128::from(a.offset)) as f64
}

/// Widens the bound where a sample that was left out is beyond it.
fn include(samples: &mut [Sample], left_out: &Sample) {
    let after = samples.partition_point(|sample| sample.guest_time <= left_out.guest_time);
    let Some((before, [b, ..])) =
        after.checked_sub(1).and_then(|at| samples.split_at_mut_checked(at + 1))
    else {
        return;
    };
    let Some(a) = before.last_mut() else { return };
    let apart = (line(a, b, left_out.guest_time) - i128::from(left_out.offset)).unsigned_abs();
    let apart = u64::try_from(apart).unwrap_or(u64::MAX);
    if apart > a.error.min(b.error).saturating_add(a.between).saturating_add(left_out.error) {
        a.between = apart;
    }
}

/// Whether times between two samples may have come before, or may come again. A clock that was set back looks like one that
/// was paused, unless it was set back by more than had passed.
fn was_set_back(before: &Sample, after: &Sample, can_be_set: bool) -> bool {
    let noise = before.error as f64 + after.error as f64;
    after.guest_time < before.guest_time
        || can_be_set && rise(before, after) > noise + span(before, after) * 10.0 * WANDER
}

/// Widens the bound where a clock was set back: its times came twice, and a reader knows one of the two only.
fn include_times_twice(samples: &mut [Sample], before: &Sample, after: &Sample) {
    let apart = before.offset.abs_diff(after.offset);
    let host = |sample: &Sample| i128::from(sample.guest_time) + i128::from(sample.offset);
    let passed = u64::try_from(host(after).abs_diff(host(before))).unwrap_or(u64::MAX);
    let first = after.guest_time.saturating_sub(passed);
    let last = before.guest_time.saturating_add(passed);
    let next: Vec<u64> = samples.iter().skip(1).map(|sample| sample.guest_time).collect();
    for (sample, next) in samples.iter_mut().zip(next.into_iter().map(Some).chain([None])) {
        if sample.guest_time <= last && next.is_none_or(|next| next >= first) {
            sample.between = sample.between.saturating_add(apart);
        }
    }
    if let Some(sample) = samples.first_mut()
        && sample.guest_time >= first
    {
        sample.error = sample.error.saturating_add(apart);
    }
}
