//! The stack of each task as function tracers and stack traces tell it, and the chains they make.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;

use super::stack_tree::{Label, Node, StackTree};
use super::{Chains, Leaf};
use crate::abi::Abi;
use crate::metadata::Metadata;
use crate::symbols::Symbols;

/// What a record tells about calls.
#[derive(Clone, Copy, Debug)]
pub(super) enum Observed<'a> {
    /// A function was called by another.
    Call { function: u64, caller: u64 },
    /// A function was entered, so many calls below the first one that is traced.
    Enter { function: u64, depth: u32 },
    /// The function of that depth was left.
    Exit { depth: u32 },
    /// The addresses of a stack trace, innermost first.
    Trace(&'a [u8]),
    /// Any other event.
    Event(u16),
}

/// Address that ends a stack trace before its end.
const END_OF_TRACE: u64 = u64::MAX;

/// The pid of all tasks where they are not told apart.
const ANY_PID: i32 = -1;

/// The stacks of all tasks.
pub(super) struct Stacks<'m> {
    symbols: &'m Symbols,
    abi: Abi,
    ignore_pids: bool,
    tree: StackTree,
    chains: Chains,
    /// The task whose calls were seen last.
    current: Option<Task>,
    /// The stacks of the others, with the number of the change that left them, the last one last.
    others: FxHashMap<i32, Vec<(u64, Node)>>,
    changes: u64,
    /// The last event, which a stack trace may follow.
    pending: Option<Task>,
    traces: FxHashMap<Box<[u8]>, Node>,
}

/// A task and a stack.
#[derive(Clone, Copy, Debug)]
struct Task {
    pid: i32,
    stack: Node,
}

impl<'m> Stacks<'m> {
    pub(super) fn new(metadata: &'m Metadata, ignore_pids: bool) -> Self {
        Self {
            symbols: metadata.symbols(),
            abi: metadata.abi,
            ignore_pids,
            tree: StackTree::new(),
            chains: Chains::default(),
            current: None,
            others: FxHashMap::default(),
            changes: 0,
            pending: None,
            traces: FxHashMap::default(),
        }
    }

    /// Adds what the next record tells.
    #[inline]
    pub(super) fn add(&mut self, pid: i32, observed: Observed<'_>) {
        match observed {
            Observed::Event(id) => {
                if let Some(pending) = self.pending.take() {
                    self.count(pending, Leaf::Event);
                }
                let context = self.current.map_or(Node::ROOT, |task| task.stack);
                let stack = self.tree.push(context, Label::Event(id));
                self.pending = Some(Task { pid, stack });
            }
            Observed::Trace(addresses) => self.trace(pid, addresses),
            Observed::Call { function, caller } => self.call(pid, function, caller),
            Observed::Enter { function, depth } => {
                let task = self.at_depth(pid, depth);
                let function = self.function(function);
                let stack = self.tree.push(task.stack, function);
                self.current = Some(Task { stack, ..task });
            }
            Observed::Exit { depth } => self.current = Some(self.at_depth(pid, depth)),
        }
    }

    /// All that was counted.
    pub(super) fn into_chains(self) -> (StackTree, Chains) {
        (self.tree, self.chains)
    }

    /// Counts what is left at the end of a buffer.
    pub(super) fn end_buffer(&mut self) {
        if let Some(task) = self.current.take() {
            self.count(task, Leaf::Function);
        }
        if let Some(pending) = self.pending.take() {
            self.count(pending, Leaf::Event);
        }
        let others = self.others.drain();
        let others = others.flat_map(|(pid, left)| {
            left.into_iter().map(move |(change, stack)| (Reverse(change), pid, stack))
        });
        let mut others: Vec<_> = others.collect();
        others.sort_unstable_by_key(|&(change, _, _)| change);
        for (_, pid, stack) in others {
            self.count(Task { pid, stack }, Leaf::Function);
        }
    }

    #[inline]
    fn count(&mut self, task: Task, leaf: Leaf) {
        let pid = if self.ignore_pids { ANY_PID } else { task.pid };
        self.chains.add(pid, task.stack, leaf);
    }

    /// Makes a task the current one.
    #[inline]
    fn switch_to(&mut self, pid: i32) -> Task {
        match self.current {
            Some(task) if task.pid == pid => task,
            Some(task) => {
                self.changes += 1;
                self.others.entry(task.pid).or_default().push((self.changes, task.stack));
                self.take_over(pid)
            }
            None => self.take_over(pid),
        }
    }

    fn take_over(&mut self, pid: i32) -> Task {
        let stack =
            self.others.get_mut(&pid).and_then(Vec::pop).map_or(Node::ROOT, |(_, stack)| stack);
        let task = Task { pid, stack };
        self.current = Some(task);
        task
    }

    /// A call that the caller's name tells the depth of.
    fn call(&mut self, pid: i32, function: u64, caller: u64) {
        let task = self.switch_to(pid);
        let (function, caller) = (self.function(function), self.function(caller));
        let mut stack = task.stack;
        if stack != Node::ROOT && self.tree.label(stack) != Some(caller) {
            // What returned was a leaf.
            self.count(task, Leaf::Function);
            while self.tree.label(stack).is_some_and(|label| label != caller) {
                stack = self.tree.parent(stack);
            }
        }
        if stack == Node::ROOT {
            stack = self.tree.push(stack, caller);
        }
        let stack = self.tree.push(stack, function);
        self.current = Some(Task { pid, stack });
    }

    /// The stack of a task as far as it is above a call of this depth. What is deeper, or missing,
    /// has returned: its chain is complete.
    fn at_depth(&mut self, pid: i32, depth: u32) -> Task {
        let task = self.switch_to(pid);
        if self.tree.depth(task.stack) == depth {
            return task;
        }
        self.count(task, Leaf::Function);
        Task { pid, stack: self.tree.truncate(task.stack, depth) }
    }

    /// A stack trace: that of the event before it, or of the function called last.
    fn trace(&mut self, pid: i32, addresses: &[u8]) {
        let Some(pending) = self.pending.take() else {
            let leaf = self.current.and_then(|task| self.tree.label(task.stack));
            let task = Task { pid, stack: self.traced(leaf, addresses) };
            self.current = Some(task);
            self.count(task, Leaf::Event);
            return;
        };
        // Something was lost in between.
        if pending.pid != pid {
            return;
        }
        let leaf = self.tree.label(pending.stack);
        let task = Task { pid, stack: self.traced(leaf, addresses) };
        self.count(task, Leaf::Event);
        // What function tracers tell is more than the stack of one event.
        let is_known = self.current.is_some_and(|current| current.pid == pid)
            || self.others.get(&pid).is_some_and(|left| !left.is_empty());
        self.switch_to(pid);
        if !is_known {
            self.current = Some(task);
        }
    }

    /// The stack of a trace with something called from there.
    fn traced(&mut self, leaf: Option<Label>, addresses: &[u8]) -> Node {
        let stack = match self.traces.get(addresses) {
            Some(&stack) => stack,
            None => {
                let stack = self.stack_of(addresses);
                self.traces.insert(addresses.into(), stack);
                stack
            }
        };
        leaf.map_or(stack, |leaf| self.tree.push(stack, leaf))
    }

    fn stack_of(&mut self, addresses: &[u8]) -> Node {
        let (order, size) = (self.abi.byte_order, usize::from(self.abi.long_size).max(1));
        let end = if size == 4 { END_OF_TRACE & 0xffff_ffff } else { END_OF_TRACE };
        let addresses = addresses.chunks_exact(size).filter_map(|bytes| order.uint(bytes));
        let addresses: Vec<u64> = addresses.take_while(|&address| address != end).collect();
        addresses.iter().rev().fold(Node::ROOT, |stack, &address| {
            let function = self.function(address);
            self.tree.push(stack, function)
        })
    }

    fn function(&self, address: u64) -> Label {
        let index = self.symbols.index(address).and_then(|index| u32::try_from(index).ok());
        index.map_or(Label::Address(address), Label::Function)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reader;
    use crate::testing::{TraceBuilder, Workload};

    /// `_stext`, `do_work` and `helper` of the made-up symbols.
    const FUNCTIONS: [u64; 3] =
        [0xffff_ffff_8100_0000, 0xffff_ffff_8110_0000, 0xffff_ffff_8118_0000];

    /// The chains that records make: task, how many entries, how often.
    fn chains(records: &[(i32, Observed<'_>)]) -> (u64, Vec<(i32, u32, u64)>) {
        let workload = Workload { events_per_cpu: 1, ..Workload::new(1) };
        let metadata = Reader::parse(TraceBuilder::new(workload).build()).unwrap().metadata;
        let mut stacks = Stacks::new(&metadata, false);
        for &(pid, observed) in records {
            stacks.add(pid, observed);
        }
        stacks.end_buffer();
        let (tree, chains) = stacks.into_chains();
        let list = chains.list.iter().map(|c| (c.pid, tree.depth(c.node), c.count)).collect();
        (chains.total, list)
    }

    #[test]
    fn only_leaves_of_calls_are_counted() {
        let [a, b, c] = FUNCTIONS;
        let call = |function, caller| (1, Observed::Call { function, caller: caller + 8 });
        // a calls b, which calls c twice.
        let records = [call(b, a), call(c, b), call(c, b)];
        assert_eq!(chains(&records), (2, vec![(1, 3, 2)]));
    }

    #[test]
    fn depth_of_function_graph_tells_what_returned() {
        let [a, b, _] = FUNCTIONS;
        let enter = |function, depth| (1, Observed::Enter { function, depth });
        let records =
            [enter(a, 0), enter(b, 1), (1, Observed::Exit { depth: 1 }), enter(b, 1), enter(a, 0)];
        // Twice b below a, then a by itself.
        assert_eq!(chains(&records), (3, vec![(1, 2, 2), (1, 1, 1)]));
    }

    #[test]
    fn stack_trace_belongs_to_the_event_of_its_task() {
        let bytes: Vec<u8> = FUNCTIONS.iter().flat_map(|address| address.to_le_bytes()).collect();
        let trace = Observed::Trace(&bytes);
        // It stays as the stack of a task that has no other, and counts once more at the end.
        assert_eq!(chains(&[(1, Observed::Event(7)), (1, trace)]), (2, vec![(1, 4, 2)]));
        // That of another task means that something is missing in between.
        assert_eq!(chains(&[(1, Observed::Event(7)), (2, trace)]), (0, vec![]));
    }
}
