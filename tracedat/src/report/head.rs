//! Beginnings of lines kept from one line to the next: most lines repeat the task of their CPU, and
//! the second.

use crate::text;

/// CPUs whose last task is kept; others share their places.
const PLACES: usize = 32;
/// Longest beginning that is kept.
const MAX_LEN: usize = 48;

/// What lines began with lately.
pub(crate) struct Heads {
    tasks: [Kept<TaskKey>; PLACES],
    second: Kept<u64>,
}

/// Whose line it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskKey {
    pub(crate) file: u32,
    pub(crate) cpu: u32,
    pub(crate) pid: i32,
}

#[derive(Clone, Copy)]
struct Kept<K> {
    key: Option<K>,
    len: u8,
    bytes: [u8; MAX_LEN],
}

impl<K: Copy + PartialEq> Kept<K> {
    const NONE: Self = Self { key: None, len: 0, bytes: [0; MAX_LEN] };

    /// Appends the text of `key`; false if it is not kept.
    #[inline]
    fn append(&self, key: K, out: &mut Vec<u8>) -> bool {
        let found = self.key == Some(key);
        if found {
            text::first(out, &self.bytes, usize::from(self.len));
        }
        found
    }

    fn set(&mut self, key: K, text: &[u8]) {
        self.key = None;
        if let Some(place) = self.bytes.get_mut(..text.len()) {
            place.copy_from_slice(text);
            self.len = text.len() as u8;
            self.key = Some(key);
        }
    }
}

impl Heads {
    /// Nothing kept.
    pub(crate) fn new() -> Self {
        Self { tasks: [Kept::NONE; PLACES], second: Kept::NONE }
    }

    /// Appends a task's columns, which `print` writes when they are not those of the last line of
    /// its CPU; `print` says whether they may be kept.
    #[inline]
    pub(crate) fn task(
        &mut self,
        key: TaskKey,
        out: &mut Vec<u8>,
        print: impl FnOnce(&mut Vec<u8>) -> bool,
    ) {
        let kept = &mut self.tasks[key.cpu as usize % PLACES];
        if kept.append(key, out) {
            return;
        }
        let start = out.len();
        if print(out) {
            kept.set(key, out.get(start..).unwrap_or_default());
        }
    }

    /// Appends the text of a second, which `print` writes when it is not that of the last line.
    #[inline]
    pub(crate) fn second(
        &mut self,
        second: u64,
        out: &mut Vec<u8>,
        print: impl FnOnce(&mut Vec<u8>),
    ) {
        if self.second.append(second, out) {
            return;
        }
        let start = out.len();
        print(out);
        self.second.set(second, out.get(start..).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_task_on_the_same_cpu_repeats() {
        let mut heads = Heads::new();
        let mut out = Vec::new();
        let key = |cpu, pid| TaskKey { file: 0, cpu, pid };
        for (key, text, keep) in [
            (key(1, 7), "a", true),
            (key(1, 7), "not printed", true),
            (key(1, 8), "b", false),
            (key(1, 8), "c", true),
            (key(1 + PLACES as u32, 8), "d", true),
            (key(1, 8), "e", true),
        ] {
            heads.task(key, &mut out, |out| {
                out.extend_from_slice(text.as_bytes());
                keep
            });
        }
        assert_eq!(out, b"aabcde");
    }

    #[test]
    fn what_is_too_long_is_printed_anew() {
        let mut heads = Heads::new();
        let mut out = Vec::new();
        for _ in 0..2 {
            heads.second(5, &mut out, |out| out.extend_from_slice(&[b'x'; MAX_LEN + 1]));
        }
        assert_eq!(out.len(), 2 * (MAX_LEN + 1));
    }
}
