//! Which of many units, each with a time stamp, have what lies between two times: found by halving.

use std::ops::Range;

use crate::error::ReadError;

/// Units in a row without a stamp that are passed over in search of one that has one.
const MAX_UNKNOWN: u64 = 1024;

/// So many steps from the first unit to the last are looked at before halving goes on between two of them, so
/// that a clock that was set back is noticed.
const STEPS: u64 = 16;

/// The units that have all of what lies between two times, both included. A unit has what comes from
/// its own stamp up to that of the next one, or a little later; `stamp` gives `None` for one that has nothing.
///
/// `None` when stamps that were seen are not in order, or too few units have one.
pub(super) fn between(
    units: u64,
    (from, to): (u64, u64),
    stamp: &mut dyn FnMut(u64) -> Result<Option<u64>, ReadError>,
) -> Result<Option<Range<u64>>, ReadError> {
    let mut search = Search { stamp, marks: Vec::new() };
    if !search.mark(units)? {
        return Ok(None);
    }
    let Some((before, _)) = search.around(from)? else { return Ok(None) };
    let end = match to.checked_add(1) {
        Some(bound) => search.around(bound)?.map(|(_, after)| after),
        None => Some(units),
    };
    // The last unit that starts before has what comes first. One more on either side, as an
    // event that interrupts another may come to lie in the next sub-buffer, or in the one before.
    let start = before.map_or(0, |before| before.saturating_sub(1));
    Ok(end.map(|end| start..end.saturating_add(1).min(units)))
}

/// A unit and its stamp.
#[derive(Clone, Copy)]
struct Mark {
    unit: u64,
    time: u64,
}

struct Search<'a> {
    stamp: &'a mut dyn FnMut(u64) -> Result<Option<u64>, ReadError>,
    /// Some units in their order, and in that of their stamps.
    marks: Vec<Mark>,
}

impl Search<'_> {
    /// Looks at some of so many units; false when nothing can be made of them.
    fn mark(&mut self, units: u64) -> Result<bool, ReadError> {
        let Some(last) = units.checked_sub(1) else { return Ok(false) };
        let mut next = 0;
        for step in 0..=STEPS {
            // Of fewer units some come twice.
            let unit = (u128::from(last) * u128::from(step) / u128::from(STEPS)) as u64;
            if unit < next {
                continue;
            }
            let mark = match self.at_or_before(unit, next)? {
                Some(mark) => mark,
                None if unit - next >= MAX_UNKNOWN => return Ok(false),
                None => continue,
            };
            if self.marks.last().is_some_and(|before| before.time > mark.time) {
                return Ok(false);
            }
            self.marks.push(mark);
            next = unit + 1;
        }
        Ok(!self.marks.is_empty())
    }

    /// The last unit whose stamp is before `bound`, if there is one, and the first of those behind it whose stamp is not,
    /// or the one behind the last mark. `None` when stamps are not in order.
    fn around(&mut self, bound: u64) -> Result<Option<(Option<u64>, u64)>, ReadError> {
        let after = self.marks.partition_point(|mark| mark.time < bound);
        let mut before = after.checked_sub(1).and_then(|before| self.marks.get(before)).copied();
        let mut low = before.map_or(0, |mark| mark.unit + 1);
        let Some(&Mark { unit: mut end, time: mut latest }) = self.marks.get(after) else {
            return Ok(Some((before.map(|mark| mark.unit), low)));
        };
        while low < end {
            let middle = low + (end - low) / 2;
            match self.at_or_before(middle, low)? {
                Some(Mark { time, .. })
                    if time > latest || before.is_some_and(|mark| mark.time > time) =>
                {
                    return Ok(None);
                }
                Some(mark) if mark.time < bound => (low, before) = (middle + 1, Some(mark)),
                Some(Mark { unit, time }) => (end, latest) = (unit, time),
                None if middle - low >= MAX_UNKNOWN => return Ok(None),
                None => low = middle + 1,
            }
        }
        Ok(Some((before.map(|mark| mark.unit), end)))
    }

    /// A unit, or the next one before it but not before `low`, that has a stamp.
    fn at_or_before(&mut self, unit: u64, low: u64) -> Result<Option<Mark>, ReadError> {
        let furthest = low.max(unit.saturating_sub(MAX_UNKNOWN));
        for unit in (furthest..=unit).rev() {
            if let Some(time) = (self.stamp)(unit)? {
                return Ok(Some(Mark { unit, time }));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The units, and how many stamps were looked at.
    fn find(stamps: &[Option<u64>], from: u64, to: u64) -> (Option<Range<u64>>, usize) {
        let mut looked = 0;
        let mut stamp = |unit: u64| {
            looked += 1;
            Ok(stamps[unit as usize])
        };
        let found = between(stamps.len() as u64, (from, to), &mut stamp).unwrap();
        (found, looked)
    }

    /// Whether all that lies in time is in the units: a unit has what comes up to the next stamp.
    fn has_all(stamps: &[Option<u64>], found: &Range<u64>, from: u64, to: u64) -> bool {
        let next = |unit: usize| stamps[unit + 1..].iter().flatten().next().copied();
        (0..stamps.len()).all(|unit| {
            let Some(first) = stamps[unit] else { return true };
            let last = next(unit).unwrap_or(u64::MAX);
            first > to || last < from || found.contains(&(unit as u64))
        })
    }

    #[test]
    fn few_of_many_units_are_looked_at() {
        let stamps: Vec<_> = (0..100_000).map(|unit| Some(unit * 10)).collect();
        let (found, looked) = find(&stamps, 500_000, 500_099);
        assert_eq!(found, Some(49_998..50_011));
        assert!(looked < 50, "{looked}");
    }

    #[test]
    fn equal_stamps_and_units_without_one_are_no_hindrance() {
        let mut seed = 1_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        for _ in 0..2000 {
            let (mut time, len) = (5, 1 + random(40));
            let mut stamp = || {
                time += random(3);
                (random(4) > 0).then_some(time)
            };
            let stamps: Vec<_> = (0..len).map(|_| stamp()).collect();
            for from in 0..time + 2 {
                for to in [from, from + 3, u64::MAX] {
                    match find(&stamps, from, to).0 {
                        Some(found) => assert!(
                            has_all(&stamps, &found, from, to),
                            "{from} to {to}: {found:?} of {stamps:?}"
                        ),
                        None => assert!(stamps.iter().all(Option::is_none), "{stamps:?}"),
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_out_of_order_is_not_relied_on() {
        let stamps = |times: &[u64]| times.iter().copied().map(Some).collect::<Vec<_>>();
        assert_eq!(find(&stamps(&[9, 1, 2, 3]), 2, 3).0, None);
        assert_eq!(find(&stamps(&[1, 2, 99, 3, 4]), 3, 3).0, None);
        let set_back: Vec<_> = (0..600).chain(100..900).collect();
        assert_eq!(find(&stamps(&set_back), 800, 850).0, None);
        assert_eq!(find(&[], 2, 3).0, None);
        assert_eq!(find(&vec![None; 5000], 2, 3).0, None);
    }

    #[test]
    fn all_units_are_where_no_time_is_left_out() {
        let stamps: Vec<_> = (0..9).map(Some).collect();
        assert_eq!(find(&stamps, 0, u64::MAX).0, Some(0..9));
    }
}
