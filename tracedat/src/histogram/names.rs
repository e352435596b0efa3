//! Names of tasks, of which each may have had several.
//!
//! The reference keeps one list of all names it meets, the last first, sorts it by pid, and takes
//! the name that a binary search meets first. For its text to be the same, so does this, but keeps
//! the same name of a task only once, with how many times it was met in a row.

use rustc_hash::FxHashMap;

const IDLE: &[u8] = b"<idle>";
const UNKNOWN: &[u8] = b"<...>";

/// The names that were met.
#[derive(Default)]
pub(super) struct TaskNames {
    tasks: FxHashMap<i32, Vec<Met>>,
}

/// A name and how many times it was met in a row.
struct Met {
    name: Box<[u8]>,
    count: u64,
}

impl TaskNames {
    /// Starts with the text of `saved_cmdlines`.
    pub(super) fn new(cmdlines: &[u8]) -> Self {
        let mut names = Self::default();
        for line in cmdlines.split(|&byte| byte == b'\n') {
            let Some(blank) = line.iter().position(|&byte| byte == b' ') else { continue };
            let (pid, name) = line.split_at(blank);
            let pid = std::str::from_utf8(pid).ok().and_then(|pid| pid.parse().ok());
            if let Some(pid) = pid {
                names.learn(pid, &name[1..]);
            }
        }
        names
    }

    /// Adds a name.
    #[inline]
    pub(super) fn learn(&mut self, pid: i32, name: &[u8]) {
        let met = self.tasks.entry(pid).or_default();
        match met.last_mut() {
            Some(last) if *last.name == *name => last.count += 1,
            _ => met.push(Met { name: name.into(), count: 1 }),
        }
    }

    /// Makes the names ready to be looked up.
    pub(super) fn sorted(&self) -> SortedNames<'_> {
        let mut tasks: Vec<_> = self.tasks.iter().map(|(&pid, met)| (pid, met)).collect();
        tasks.sort_unstable_by_key(|&(pid, _)| pid);
        let mut end = 0;
        let tasks = tasks.into_iter().map(|(pid, met)| {
            end += met.iter().map(|met| met.count).sum::<u64>();
            Names { pid, end, met }
        });
        SortedNames { tasks: tasks.collect() }
    }
}

/// All names by pid.
pub(super) struct SortedNames<'n> {
    tasks: Vec<Names<'n>>,
}

/// The names of a task.
struct Names<'n> {
    pid: i32,
    /// Where they end in the list.
    end: u64,
    met: &'n [Met],
}

impl<'n> SortedNames<'n> {
    /// The name of a task.
    pub(super) fn get(&self, pid: i32) -> &'n [u8] {
        if pid == 0 {
            return IDLE;
        }
        self.search(pid).unwrap_or(UNKNOWN)
    }

    fn search(&self, pid: i32) -> Option<&'n [u8]> {
        let (mut low, mut high) = (0, self.tasks.last()?.end);
        while low < high {
            let middle = low.midpoint(high);
            let at = self.tasks.partition_point(|task| task.end <= middle);
            let task = self.tasks.get(at)?;
            match pid.cmp(&task.pid) {
                std::cmp::Ordering::Less => high = middle,
                std::cmp::Ordering::Greater => low = middle + 1,
                std::cmp::Ordering::Equal => return task.name(middle),
            }
        }
        None
    }
}

impl<'n> Names<'n> {
    /// The name at a place of the list; what was met last comes first.
    fn name(&self, place: u64) -> Option<&'n [u8]> {
        // How many names were met up to that one.
        let mut older = self.end.checked_sub(place)?;
        for met in self.met {
            if older <= met.count {
                return Some(&met.name);
            }
            older -= met.count;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_a_binary_search_meets() {
        let mut names = TaskNames::new(b"100 alpha\n200 beta\nx y\n300 gamma\n");
        assert_eq!(names.sorted().get(100), b"alpha");
        assert_eq!((names.sorted().get(0), names.sorted().get(7)), (IDLE, UNKNOWN));
        names.learn(100, b"one");
        names.learn(200, b"two");
        // one alpha two beta gamma
        assert_eq!(
            (names.sorted().get(100), names.sorted().get(200)),
            (&b"alpha"[..], &b"two"[..])
        );
        names.learn(200, b"three");
        names.learn(100, b"four");
        // four one alpha three two beta gamma
        assert_eq!(
            (names.sorted().get(100), names.sorted().get(200)),
            (&b"one"[..], &b"three"[..])
        );
    }
}
