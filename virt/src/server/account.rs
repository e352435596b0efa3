//! What is known of a session: since when, and how far its host tool says it is.

use std::time::{Duration, Instant};

use trace_transport::message::Totals;

/// A tool tells its totals once a second; what it told longer ago says nothing about now.
const FRESH: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Account {
    pub(super) since: Instant,
    /// Bytes of control messages, both ways.
    pub(super) relayed: u64,
    pub(super) totals: Totals,
    /// Bytes per second, and when that was found.
    rate: Option<(u64, Instant)>,
}

impl Account {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, relayed: 0, totals: Totals::default(), rate: None }
    }

    pub(super) fn relay(&mut self, bytes: usize) {
        self.relayed = self.relayed.saturating_add(bytes as u64);
    }

    /// Takes what the tool says now.
    pub(super) fn take(&mut self, totals: Totals, now: Instant) {
        let before = self.rate.map_or(self.since, |(_, at)| at);
        let elapsed = now.saturating_duration_since(before).as_millis().max(1);
        let more = totals.bytes.saturating_sub(self.totals.bytes);
        let rate = u128::from(more).saturating_mul(1000) / elapsed;
        self.rate = Some((u64::try_from(rate).unwrap_or(u64::MAX), now));
        self.totals = totals;
    }

    /// Bytes of trace data per second.
    pub(super) fn rate(&self, now: Instant) -> u64 {
        let fresh = self.rate.filter(|(_, at)| now.saturating_duration_since(*at) < FRESH);
        fresh.map_or(0, |(rate, _)| rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_second_and_grow_old() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let bytes = |bytes| Totals { bytes, ..Totals::default() };
        let mut account = Account::new(start);
        account.take(bytes(500), at(500));
        assert_eq!(account.rate(at(500)), 1000);
        account.take(bytes(500), at(1500));
        account.take(bytes(4500), at(2500));
        assert_eq!(account.rate(at(2500)), 4000);
        assert_eq!(account.rate(at(6000)), 0);
        // A tool may say anything.
        account.take(bytes(u64::MAX), at(2500));
        account.take(bytes(0), at(2400));
        assert_eq!(account.rate(at(2500)), 0);
    }
}
