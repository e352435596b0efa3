//! Counts call chains: which events and functions occur, and by which way they are reached.
//!
//! Chains come from stack traces, and from the function tracers, whose calls are kept as a stack. A
//! chain is a node of one tree, so that counting one more is a look into a table.
//!
//! The rules are those of `trace-cmd hist`: the CPUs are read one after the other, an event's chain
//! continues in the stack that was built last, and a stack trace behind an event becomes its chain.

mod kind;
mod names;
mod print;
mod stack_tree;
mod stacks;

use rustc_hash::FxHashMap;

use crate::error::ReadError;
use crate::metadata::Metadata;
use crate::read::Records;
use crate::ring_buffer::Record;
use kind::Kinds;
use names::TaskNames;
use stack_tree::{Node, StackTree};
use stacks::Stacks;

/// How chains are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistogramOptions {
    /// Counts the chains of all tasks together (`-P`).
    pub ignore_pids: bool,
}

/// Call chains and how often each occurs.
pub struct Histogram<'m> {
    metadata: &'m Metadata,
    options: HistogramOptions,
    tree: StackTree,
    chains: Chains,
    names: TaskNames,
}

impl<'m> Histogram<'m> {
    /// Counts the chains of all buffers of a file, before a record of it is taken.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn count(
        metadata: &'m Metadata,
        records: &mut Records,
        options: HistogramOptions,
    ) -> Result<Self, ReadError> {
        let mut kinds = Kinds::new(metadata);
        let mut stacks = Stacks::new(metadata, options.ignore_pids);
        let mut names = TaskNames::new(metadata.cmdlines_text());
        for (index, buffer) in (0..).zip(&metadata.buffers) {
            for data in &buffer.cpus {
                records.visit_cpu(index, data.cpu, |record| {
                    count_record(record, &mut kinds, &mut stacks, &mut names);
                })?;
            }
            stacks.end_buffer();
        }
        let (tree, chains) = stacks.into_chains();
        Ok(Self { metadata, options, tree, chains, names })
    }

    /// All that was counted: the events, and what function tracers have in between.
    pub fn total(&self) -> u64 {
        self.chains.total
    }
}

fn count_record(
    record: &Record<'_>,
    kinds: &mut Kinds<'_>,
    stacks: &mut Stacks<'_>,
    names: &mut TaskNames,
) {
    let Some(event) = kinds.get(record.data) else { return };
    let Some(pid) = event.pid(record.data) else { return };
    if let Some(observed) = event.observe(record.data) {
        stacks.add(pid, observed);
    }
    event.learn_names(record.data, names);
}

/// How often each chain of each task occurs, in the order in which they occur first.
#[derive(Default)]
struct Chains {
    list: Vec<Chain>,
    index: FxHashMap<(i32, Node), u32>,
    last: usize,
    total: u64,
}

/// A chain of a task.
#[derive(Clone, Copy, Debug)]
struct Chain {
    pid: i32,
    node: Node,
    leaf: Leaf,
    count: u64,
}

/// How a chain was met first, which is how it is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaf {
    /// As an event, or with a stack trace.
    Event,
    /// As a call.
    Function,
}

impl Chains {
    /// Counts one more. Chains of nothing only count for the total.
    #[inline]
    fn add(&mut self, pid: i32, node: Node, leaf: Leaf) {
        self.total += 1;
        if node == Node::ROOT {
            return;
        }
        // The same thing often occurs many times in a row.
        if let Some(last) = self.list.get_mut(self.last)
            && (last.pid, last.node) == (pid, node)
        {
            last.count += 1;
            return;
        }
        let next = self.list.len();
        let at = *self.index.entry((pid, node)).or_insert(next as u32) as usize;
        self.last = at;
        match self.list.get_mut(at) {
            Some(chain) => chain.count += 1,
            None => self.list.push(Chain { pid, node, leaf, count: 1 }),
        }
    }
}
