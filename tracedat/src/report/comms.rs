//! Task names learned from the events themselves, seen by each line as a sequential reader would.

use rustc_hash::FxHashMap;

/// Names of tasks which the file's own list lacks. The first name of a task stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct LearnedComms {
    by_pid: FxHashMap<i32, Learned>,
}

#[derive(Clone, Debug)]
struct Learned {
    /// The record that told it; lines after it know the name.
    record: u64,
    comm: Box<[u8]>,
}

impl LearnedComms {
    /// Whether a name is known, whoever told it.
    pub(crate) fn knows(&self, pid: i32) -> bool {
        self.by_pid.contains_key(&pid)
    }

    /// Takes a name from the given record, unless the task has one.
    pub(crate) fn learn(&mut self, pid: i32, comm: &[u8], record: u64) {
        self.by_pid.entry(pid).or_insert_with(|| Learned { record, comm: comm.into() });
    }

    /// The name as it was known when the given record was printed.
    pub(crate) fn comm(&self, pid: i32, record: u64) -> Option<&[u8]> {
        self.by_pid.get(&pid).filter(|l| l.record < record).map(|l| &*l.comm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_name_stays_and_is_seen_only_by_later_records() {
        let mut comms = LearnedComms::default();
        comms.learn(7, b"bash", 10);
        comms.learn(7, b"ls", 11);
        assert_eq!(comms.comm(7, 10), None);
        assert_eq!(comms.comm(7, 11), Some(&b"bash"[..]));
        assert_eq!(comms.comm(8, 99), None);
        assert!(comms.knows(7) && !comms.knows(8));
    }
}
