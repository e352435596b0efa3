//! Task names learned from the events themselves, seen by each line as a sequential reader would.

use rustc_hash::FxHashMap;

/// Names of tasks which the file's own list lacks, and a few that go before it. The first name of
/// a task stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct LearnedComms {
    by_pid: FxHashMap<i32, Learned>,
    /// Whether a name may go before the one the file has.
    overrides: bool,
}

#[derive(Clone, Debug)]
struct Learned {
    /// The first record whose line knows the name.
    from: u64,
    comm: Box<[u8]>,
    /// Whether it goes before the name the file has.
    overrides: bool,
}

impl LearnedComms {
    /// Whether a name is known, whoever told it.
    pub(crate) fn knows(&self, pid: i32) -> bool {
        self.by_pid.contains_key(&pid)
    }

    /// Takes a name from the given record, unless the task has one.
    pub(crate) fn learn(&mut self, pid: i32, comm: &[u8], record: u64) {
        let learned = || Learned { from: record + 1, comm: comm.into(), overrides: false };
        self.by_pid.entry(pid).or_insert_with(learned);
    }

    /// Takes the name that a task has from the given record on, whatever it was before.
    pub(crate) fn rename(&mut self, pid: i32, comm: &[u8], from: u64) {
        self.by_pid.insert(pid, Learned { from, comm: comm.into(), overrides: true });
        self.overrides = true;
    }

    /// The name as it was known when the given record was printed; `saved` is the file's own.
    #[inline]
    pub(crate) fn comm<'a>(
        &'a self,
        pid: i32,
        record: u64,
        saved: impl FnOnce() -> Option<&'a [u8]>,
    ) -> Option<&'a [u8]> {
        let learned = || self.by_pid.get(&pid).filter(|learned| learned.from <= record);
        if self.overrides
            && let Some(learned) = learned().filter(|learned| learned.overrides)
        {
            return Some(&learned.comm);
        }
        saved().or_else(|| learned().map(|learned| &*learned.comm))
    }

    /// Takes over what was told before the first name was asked for.
    pub(crate) fn settle(&mut self, early: EarlyComms, saved: impl Iterator<Item = i32>) {
        if early.told.is_empty() {
            return;
        }
        let mut pids: Vec<i32> = saved.collect();
        pids.extend(early.told.iter().map(|(pid, ..)| *pid));
        pids.sort_unstable();
        for (pid, comm, record) in early.told {
            // All entries of a pid lie side by side, those told last first, the file's own at the end.
            let told_after = self.by_pid.get(&pid).map_or(0, |_| 1);
            let first = pids.partition_point(|&other| other < pid);
            let end = pids.partition_point(|&other| other <= pid);
            let overrides = end - first > 1
                && binary_search(&pids, pid).is_some_and(|found| found <= first + told_after);
            self.overrides |= overrides;
            self.by_pid.insert(pid, Learned { from: record + 1, comm, overrides });
        }
    }
}

/// Names told before any line needed one. The reference appends them to the file's list without
/// looking for doubles, then sorts the list; which of two names it finds depends on where its
/// binary search meets them.
#[derive(Clone, Debug, Default)]
pub(crate) struct EarlyComms {
    told: Vec<(i32, Box<[u8]>, u64)>,
}

impl EarlyComms {
    /// Takes a name from the given record.
    pub(crate) fn learn(&mut self, pid: i32, comm: &[u8], record: u64) {
        self.told.push((pid, comm.into(), record));
    }
}

/// The place that a search by halving meets first.
fn binary_search(pids: &[i32], pid: i32) -> Option<usize> {
    let (mut low, mut high) = (0, pids.len());
    while low < high {
        let middle = low.midpoint(high);
        match pid.cmp(pids.get(middle)?) {
            std::cmp::Ordering::Less => high = middle,
            std::cmp::Ordering::Greater => low = middle + 1,
            std::cmp::Ordering::Equal => return Some(middle),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comm(comms: &LearnedComms, pid: i32, record: u64) -> Option<&[u8]> {
        comms.comm(pid, record, || (pid == 9).then_some(&b"saved"[..]))
    }

    #[test]
    fn first_name_stays_and_is_seen_only_by_later_records() {
        let mut comms = LearnedComms::default();
        comms.learn(7, b"bash", 10);
        comms.learn(7, b"ls", 11);
        comms.learn(9, b"other", 12);
        assert_eq!(comm(&comms, 7, 10), None);
        assert_eq!(comm(&comms, 7, 11), Some(&b"bash"[..]));
        assert_eq!(comm(&comms, 8, 99), None);
        assert_eq!(comm(&comms, 9, 99), Some(&b"saved"[..]));
        assert!(comms.knows(7) && !comms.knows(8));
    }

    #[test]
    fn new_name_goes_before_all_others() {
        let mut comms = LearnedComms::default();
        comms.learn(7, b"bash", 1);
        comms.rename(7, b"ls", 5);
        comms.rename(9, b"renamed", 5);
        assert_eq!(comm(&comms, 7, 5), Some(&b"ls"[..]));
        assert_eq!(comm(&comms, 9, 5), Some(&b"renamed"[..]));
        assert_eq!(comm(&comms, 9, 4), Some(&b"saved"[..]));
    }

    #[test]
    fn name_told_before_any_was_needed_may_go_before_the_saved_one() {
        let mut early = EarlyComms::default();
        early.learn(9, b"early", 0);
        let mut comms = LearnedComms::default();
        // Sorted: 1, 9 (early), 9 (saved): the middle is the early one.
        comms.settle(early.clone(), [1, 9].into_iter());
        assert_eq!(comm(&comms, 9, 1), Some(&b"early"[..]));
        // Sorted: 9 (early), 9 (saved): the middle is the saved one.
        let mut comms = LearnedComms::default();
        comms.settle(early, [9].into_iter());
        assert_eq!(comm(&comms, 9, 1), Some(&b"saved"[..]));
    }
}
