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
            if let Some(field) = stats.field(name) {
                *field = value.trim().parse().unwrap_or(0);
            }
        }
        stats
    }

    /// The kernel's text with these counters instead of its own, so that a recording has those since
    /// its start also where the buffer was not emptied before.
    pub fn worded_as(mut self, text: &str) -> String {
        let mut worded = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            let name = line.split_once(':').map_or("", |(name, _)| name);
            match self.field(name) {
                Some(value) => worded.push_str(&format!("{name}: {value}\n")),
                None => worded.push_str(line),
            }
        }
        worded
    }

    fn field(&mut self, name: &str) -> Option<&mut u64> {
        Some(match name.trim() {
            "entries" => &mut self.entries,
            "overrun" => &mut self.overrun,
            "commit overrun" => &mut self.commit_overrun,
            "bytes" => &mut self.bytes,
            "dropped events" => &mut self.dropped_events,
            "read events" => &mut self.read_events,
            _ => return None,
        })
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
    fn the_kernels_text_has_the_counters_of_the_recording() {
        let text = "entries: 0\noverrun: 0\noldest event ts:     0.000000\nnow ts:   145.1\n\
                    dropped events: 0\nread events: 1077\n";
        let before = BufferStats { read_events: 1000, ..BufferStats::default() };
        let since = BufferStats::parse(text).since(&before);
        assert_eq!(since.worded_as(text), text.replace("1077", "77"));
    }

    #[test]
    fn a_cleared_buffer_counts_from_zero() {
        let before = BufferStats { overrun: 10, read_events: 3, ..BufferStats::default() };
        let after = BufferStats { overrun: 4, read_events: 9, ..BufferStats::default() };
        let since = after.since(&before);
        assert_eq!((since.overrun, since.read_events), (4, 6));
    }
}
