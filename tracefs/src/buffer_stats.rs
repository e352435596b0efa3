//! Per-CPU counters of a ring buffer: what is in it, what was read, what was lost.

use crate::error::Error;
use crate::instance::Instance;

/// What `per_cpu/cpuN/stats` says. Counters start at zero when the buffer is cleared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferStats {
    /// Events in the buffer now.
    pub entries: u64,
    /// Events overwritten before they were read.
    pub overrun: u64,
    /// Events lost because a nested commit would have lapped the buffer.
    pub commit_overrun: u64,
    /// Bytes in the buffer now.
    pub bytes: u64,
    /// Events not taken because the buffer was full and not in overwrite mode.
    pub dropped_events: u64,
    /// Events read so far.
    pub read_events: u64,
}

impl BufferStats {
    /// Reads the text; lines that are not there count as zero, unknown ones are passed over.
    pub fn parse(text: &str) -> Self {
        let mut stats = Self::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
            let field = match name.trim() {
                "entries" => &mut stats.entries,
                "overrun" => &mut stats.overrun,
                "commit overrun" => &mut stats.commit_overrun,
                "bytes" => &mut stats.bytes,
                "dropped events" => &mut stats.dropped_events,
                "read events" => &mut stats.read_events,
                _ => continue,
            };
            *field = value.trim().parse().unwrap_or(0);
        }
        stats
    }

    /// The text they were read from, with these values in it: with those since a start, where the
    /// kernel counts on from what was before.
    pub fn put_into(&self, text: &str) -> String {
        let line = |line: &str| match line.split_once(':').map(|(name, _)| (name, self.named(name)))
        {
            Some((name, Some(value))) => format!("{name}: {value}\n"),
            _ => format!("{line}\n"),
        };
        text.lines().map(line).collect()
    }

    fn named(&self, name: &str) -> Option<u64> {
        match name.trim() {
            "entries" => Some(self.entries),
            "overrun" => Some(self.overrun),
            "commit overrun" => Some(self.commit_overrun),
            "bytes" => Some(self.bytes),
            "dropped events" => Some(self.dropped_events),
            "read events" => Some(self.read_events),
            _ => None,
        }
    }

    /// All events lost: overrun, commit overrun and dropped.
    pub fn lost_events(&self) -> u64 {
        self.overrun.saturating_add(self.commit_overrun).saturating_add(self.dropped_events)
    }

    /// The counters since `earlier`; after a clear they count from zero again.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let delta = |now: u64, then: u64| now.checked_sub(then).unwrap_or(now);
        Self {
            entries: self.entries,
            bytes: self.bytes,
            overrun: delta(self.overrun, earlier.overrun),
            commit_overrun: delta(self.commit_overrun, earlier.commit_overrun),
            dropped_events: delta(self.dropped_events, earlier.dropped_events),
            read_events: delta(self.read_events, earlier.read_events),
        }
    }
}

impl Instance {
    /// The counters of one CPU.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn buffer_stats(&self, cpu: u32) -> Result<BufferStats, Error> {
        Ok(BufferStats::parse(&self.buffer_stats_text(cpu)?))
    }

    /// The counters of one CPU, as the kernel words them.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn buffer_stats_text(&self, cpu: u32) -> Result<String, Error> {
        let bytes = self.cpu_file(cpu, "stats").read()?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_name() {
        let stats = BufferStats::parse(
            "entries: 129\noverrun: 5\ncommit overrun: 2\nbytes: 6476\n\
             oldest event ts: 144.6\nnow ts: 145.1\ndropped events: 1\nread events: 77\n",
        );
        assert_eq!((stats.entries, stats.bytes, stats.read_events), (129, 6476, 77));
        assert_eq!(stats.lost_events(), 8);
    }

    #[test]
    fn counters_since_a_start_take_the_place_of_those_before() {
        let text = "CPU: 0\nentries: 1\noverrun: 15\nnow ts:   145.1\nread events: 77\n";
        let before = BufferStats { overrun: 10, read_events: 70, ..BufferStats::default() };
        let since = BufferStats::parse(text).since(&before);
        assert_eq!(
            since.put_into(text),
            "CPU: 0\nentries: 1\noverrun: 5\nnow ts:   145.1\nread events: 7\n"
        );
    }

    #[test]
    fn a_cleared_buffer_counts_from_zero() {
        let before = BufferStats { overrun: 10, read_events: 3, ..BufferStats::default() };
        let after = BufferStats { overrun: 4, read_events: 9, ..BufferStats::default() };
        let since = after.since(&before);
        assert_eq!((since.overrun, since.read_events), (4, 6));
    }
}
