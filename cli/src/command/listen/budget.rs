//! How much clients may write.

use std::sync::atomic::{AtomicU64, Ordering};

/// What all clients may still write together.
#[derive(Debug)]
pub(super) struct Total(AtomicU64);

impl Total {
    /// So many bytes; no limit with `None`.
    pub(super) fn new(limit: Option<u64>) -> Self {
        Self(AtomicU64::new(limit.unwrap_or(u64::MAX)))
    }

    /// Takes up to `wanted` bytes of it.
    fn reserve(&self, wanted: u64) -> u64 {
        let mut left = self.0.load(Ordering::Relaxed);
        loop {
            let taken = wanted.min(left);
            let (rest, order) = (left - taken, Ordering::Relaxed);
            match self.0.compare_exchange_weak(left, rest, order, order) {
                Ok(_) => return taken,
                Err(now) => left = now,
            }
        }
    }

    fn give_back(&self, unused: u64) {
        self.0.fetch_add(unused, Ordering::Relaxed);
    }
}

/// What one client may still write.
#[derive(Debug)]
pub(super) struct Budget<'a> {
    total: &'a Total,
    left: u64,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Client,
    Total,
}

impl<'a> Budget<'a> {
    pub(super) fn new(limit: Option<u64>, total: &'a Total) -> Self {
        Self { total, left: limit.unwrap_or(u64::MAX) }
    }

    /// Takes up to `wanted` bytes, at least one.
    ///
    /// # Errors
    /// Nothing is left.
    pub(super) fn reserve(&mut self, wanted: usize) -> Result<usize, Limit> {
        if self.left == 0 {
            return Err(Limit::Client);
        }
        let granted = self.total.reserve((wanted as u64).min(self.left));
        if granted == 0 && wanted > 0 {
            return Err(Limit::Total);
        }
        self.left -= granted;
        Ok(granted as usize)
    }

    /// Gives back what was not used.
    pub(super) fn give_back(&mut self, unused: usize) {
        self.left += unused as u64;
        self.total.give_back(unused as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_limit_counts() {
        let total = Total::new(Some(100));
        let mut one = Budget::new(Some(70), &total);
        let mut other = Budget::new(None, &total);
        assert_eq!(one.reserve(50), Ok(50));
        one.give_back(10);
        assert_eq!(one.reserve(50), Ok(30));
        assert_eq!(one.reserve(1), Err(Limit::Client));
        assert_eq!(other.reserve(1000), Ok(30));
        assert_eq!(other.reserve(1), Err(Limit::Total));
        other.give_back(5);
        assert_eq!(other.reserve(9), Ok(5));
    }

    #[test]
    fn without_limits_there_is_always_more() {
        let total = Total::new(None);
        let mut budget = Budget::new(None, &total);
        for _ in 0..10 {
            assert_eq!(budget.reserve(usize::MAX >> 8), Ok(usize::MAX >> 8));
        }
    }
}
