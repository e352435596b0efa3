//! What was counted: by owner, event and value, and below that by stack.

use rustc_hash::FxHashMap;

use super::span::Spans;

/// What an event is counted for; ordered as it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Owner {
    /// The whole machine.
    Machine,
    /// What is running on a CPU, whoever it is.
    Cpu(u32),
    /// A task.
    Task(i32),
}

/// What one line of the profile counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) owner: Owner,
    /// The event, that which starts it where there are two.
    pub(super) event: u16,
    pub(super) value: u64,
}

/// All counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Tallies {
    numbers: FxHashMap<Key, u32>,
    tallies: Vec<(Key, Spans)>,
    by_stack: FxHashMap<(u32, u32), Spans>,
}

impl Tallies {
    /// Counts one; returns the number of its line.
    pub(super) fn add(&mut self, key: Key, duration: u64, time: u64) -> u32 {
        let next = self.tallies.len() as u32;
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            self.tallies.push((key, Spans::default()));
        }
        if let Some((_, spans)) = self.tallies.get_mut(number as usize) {
            spans.add(duration, time);
        }
        number
    }

    /// Counts the stack that one of a line's events had, noticed at `time`.
    pub(super) fn add_stack(&mut self, line: u32, stack: u32, duration: u64, time: u64) {
        self.by_stack.entry((line, stack)).or_default().add(duration, time);
    }

    /// All lines in the order in which they were first counted, with their stacks.
    pub(super) fn lines(&self) -> Vec<Line> {
        let line = |&(key, spans)| Line { key, spans, stacks: Vec::new() };
        let mut lines: Vec<Line> = self.tallies.iter().map(line).collect();
        for (&(number, stack), &spans) in &self.by_stack {
            if let Some(line) = lines.get_mut(number as usize) {
                line.stacks.push((stack, spans));
            }
        }
        lines
    }
}

/// One line of the profile, and the stacks below it, in no order and maybe more than once.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) key: Key,
    pub(super) spans: Spans,
    pub(super) stacks: Vec<(u32, Spans)>,
}

impl Line {
    /// Adds what another task's line has.
    pub(super) fn merge(&mut self, other: &Self) {
        self.spans.merge(&other.spans);
        self.stacks.extend_from_slice(&other.stacks);
    }
}
