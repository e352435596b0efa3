//! How often something happened and how long it took.

/// Count, sum and extremes of durations, in the ticks of the trace's time stamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spans {
    pub(super) count: u64,
    pub(super) total: u64,
    pub(super) max: Extreme,
    pub(super) min: Extreme,
}

/// The longest or shortest, and when it was noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extreme {
    pub(super) duration: u64,
    pub(super) time: u64,
}

impl Spans {
    /// Adds one; the first of equal extremes stays.
    pub(super) fn add(&mut self, duration: u64, time: u64) {
        let one = Extreme { duration, time };
        self.merge(&Self { count: 1, total: duration, max: one, min: one });
    }

    /// Adds what was counted elsewhere.
    pub(super) fn merge(&mut self, other: &Self) {
        if self.count == 0 || other.max.duration > self.max.duration {
            self.max = other.max;
        }
        if self.count == 0 || other.min.duration < self.min.duration {
            self.min = other.min;
        }
        self.count = self.count.saturating_add(other.count);
        self.total = self.total.saturating_add(other.total);
    }

    /// The mean, rounded down.
    pub(super) fn average(&self) -> u64 {
        self.total / self.count.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_of_equal_extremes_stays() {
        let mut spans = Spans::default();
        for (duration, time) in [(5, 1), (7, 2), (7, 3), (5, 4)] {
            spans.add(duration, time);
        }
        let extreme = |duration, time| Extreme { duration, time };
        let expected = Spans { count: 4, total: 24, max: extreme(7, 2), min: extreme(5, 1) };
        assert_eq!((spans, spans.average()), (expected, 6));
    }
}
