//! Where the time of a CPU goes backwards (`report --ts-check`).

use rustc_hash::FxHashMap;

use crate::ring_buffer::Record;

/// Places that are told at most; a clock that jumps about would fill memory with them.
const LIMIT: usize = 1000;

/// A record that is older than the one before it on its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backwards {
    /// Index of the file.
    pub file: usize,
    /// The CPU.
    pub cpu: u32,
    /// Time of the record before.
    pub from: u64,
    /// Time of the record.
    pub to: u64,
}

/// Watches the time of every CPU.
#[derive(Debug, Default)]
pub(crate) struct TimeCheck {
    last: FxHashMap<(usize, u32, u32), u64>,
    pub(crate) found: Vec<Backwards>,
}

impl TimeCheck {
    pub(crate) fn see(&mut self, file: usize, record: &Record<'_>) {
        let to = record.time;
        let before = self.last.insert((file, record.buffer, record.cpu), to);
        if let Some(from) = before.filter(|from| *from > to)
            && self.found.len() < LIMIT
        {
            self.found.push(Backwards { file, cpu: record.cpu, from, to });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring_buffer::MissedEvents;

    #[test]
    fn every_cpu_has_its_own_time() {
        let mut check = TimeCheck::default();
        for (cpu, time) in [(0, 10), (1, 5), (0, 9), (1, 5)] {
            let missed = MissedEvents::None;
            let record = Record {
                data: &[],
                behind: &[],
                ticks: time,
                time,
                cpu,
                buffer: 0,
                missed,
                starts_sub_buffer: false,
            };
            check.see(0, &record);
        }
        assert_eq!(check.found, [Backwards { file: 0, cpu: 0, from: 10, to: 9 }]);
    }
}
