//! Where time goes, by task: how long tasks waited and for what, how long interrupts, system calls and functions
//! took, how often everything else happened, and the kernel stacks where it did.
//!
//! ```text
//! records, oldest first ─► role (what the event means) ─► state (starts, ends, stacks) ─► tally
//!                                                                                          │ at the end
//!                                                                          text, tree ◄────┘
//! ```
//!
//! Memory grows with the number of different things counted and of things that have not ended, not with that of records.
//!
//! ```no_run
//! use tracedat::profile::{Profile, ProfileOptions};
//!
//! let tracedat::Reader { metadata, mut records } = tracedat::Reader::open("trace.dat")?;
//! let mut profile = Profile::new(&metadata, &ProfileOptions::default())?;
//! while let Some(record) = records.next()? {
//!     profile.add(&record);
//! }
//! let mut text = Vec::new();
//! profile.print(&mut text);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod hook;
mod pending;
mod role;
mod span;
mod stack;
mod state;
mod tally;
mod text;
mod tree;

pub use hook::{Hook, HookError, HookEvent};

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::layout::OptionId;
use crate::metadata::Metadata;
use crate::ring_buffer::Record;
use role::{Roles, Style};
use state::State;
use tally::{Line, Owner};
use text::Printer;

/// What a profile counts, and for whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProfileOptions {
    /// Interrupts count for their CPU, not for the task that they interrupted.
    pub per_cpu: bool,
    /// Tasks whose name the scheduler's events told are one if the names are equal.
    pub by_comm: bool,
    /// Pairs of events to measure, beside those that are known and those in the trace's options.
    pub hooks: Vec<Hook>,
}

/// Counts the records of one buffer; see the [module](self).
#[derive(Debug)]
pub struct Profile<'m> {
    metadata: &'m Metadata,
    by_comm: bool,
    roles: Roles<'m>,
    state: State,
    unusable: Vec<HookError>,
}

impl<'m> Profile<'m> {
    /// An empty profile. Hooks that the recorder left in the trace go before those of the options, and of several
    /// hooks for one event the first counts.
    ///
    /// # Errors
    ///
    /// The trace lacks an event or a field of a hook in the options.
    pub fn new(metadata: &'m Metadata, options: &ProfileOptions) -> Result<Self, HookError> {
        let mut roles = Roles::new(metadata, options.per_cpu);
        for hook in options.hooks.iter().rev() {
            roles.hook(hook)?;
        }
        let mut recorded: Vec<_> = metadata.options_of(OptionId::HOOK).collect();
        recorded.reverse();
        let mut unusable = Vec::new();
        for option in recorded {
            let text = option.data.split(|&byte| byte == 0).next().unwrap_or_default();
            let hook = String::from_utf8_lossy(text).parse::<Hook>();
            if let Err(error) = hook.and_then(|hook| roles.hook(&hook)) {
                unusable.push(error);
            }
        }
        let by_comm = options.by_comm;
        Ok(Self { metadata, by_comm, roles, state: State::default(), unusable })
    }

    /// The hooks of the trace's own options that were left out, and why.
    pub fn unusable_hooks(&self) -> &[HookError] {
        &self.unusable
    }

    /// Counts a record. They come oldest first; one whose event has no format is left out.
    pub fn add(&mut self, record: &Record<'_>) {
        let Some(id) = record.data.first_chunk() else { return };
        let id = self.metadata.abi.byte_order.u16(*id);
        if let Some(role) = self.roles.get(id) {
            self.state.take(id, role, record);
        }
    }

    /// Appends what was counted so far as text: first what belongs to no task, then task by task.
    pub fn print(&mut self, out: &mut Vec<u8>) {
        let mut lines = self.state.tallies.lines();
        let mut groups: BTreeMap<&[u8], Vec<Line>> = BTreeMap::new();
        if self.by_comm {
            let mut grouped = Vec::new();
            lines.retain(|line| {
                let is_grouped = group(&self.state, line.key.owner).is_some();
                if is_grouped {
                    grouped.push(line.clone());
                }
                !is_grouped
            });
            groups = group_lines(&self.state, &mut self.roles, grouped);
        }
        let symbols = self.metadata.symbols();
        let mut printer = Printer { roles: &mut self.roles, stacks: &self.state.stacks, symbols };
        printer.sort(&mut lines);
        let first_of_task = lines.partition_point(|line| !matches!(line.key.owner, Owner::Task(_)));
        let (shared, mut lines) = lines.split_at(first_of_task);
        printer.print_lines(shared, out);
        for (comm, lines) in &mut groups {
            printer.sort(lines);
            out.extend_from_slice(b"\ngroup: ");
            out.extend_from_slice(comm);
            out.push(b'\n');
            printer.print_lines(lines, out);
        }
        let mut pids: Vec<i32> = self.state.tasks.keys().copied().collect();
        pids.sort_unstable();
        for pid in pids {
            let owner = Owner::Task(pid);
            if self.by_comm && group(&self.state, owner).is_some() {
                continue;
            }
            out.extend_from_slice(b"\ntask: ");
            out.extend_from_slice(comm(&self.state, self.metadata, pid));
            out.extend_from_slice(format!("-{pid}\n").as_bytes());
            let own = lines.partition_point(|line| line.key.owner <= owner);
            let (own, others) = lines.split_at(own);
            lines = others;
            printer.print_lines(own, out);
        }
    }
}

/// The name under which an owner is one with others.
fn group(state: &State, owner: Owner) -> Option<&[u8]> {
    match owner {
        Owner::Task(pid) => state.tasks.get(&pid)?.comm.as_deref(),
        Owner::Machine | Owner::Cpu(_) => None,
    }
}

fn comm<'a>(state: &'a State, metadata: &'a Metadata, pid: i32) -> &'a [u8] {
    let learned = state.tasks.get(&pid).and_then(|task| task.comm.as_deref());
    match (learned, pid) {
        (Some(comm), _) => comm,
        (None, 0) => b"<idle>",
        (None, _) => metadata.tasks().comm(pid).unwrap_or(b"<...>"),
    }
}

/// Lines by the name of their tasks, those of the same event and value merged, the lowest task first.
fn group_lines<'a>(
    state: &'a State,
    roles: &mut Roles<'_>,
    mut lines: Vec<Line>,
) -> BTreeMap<&'a [u8], Vec<Line>> {
    let names = state.tasks.values().filter_map(|task| task.comm.as_deref());
    let mut groups: BTreeMap<&[u8], Vec<Line>> = names.map(|name| (name, Vec::new())).collect();
    let mut places: FxHashMap<(&[u8], u16, u64), usize> = FxHashMap::default();
    lines.sort_by_key(|line| line.key.owner);
    for mut line in lines {
        let Some(name) = group(state, line.key.owner) else { continue };
        // Which task was woken makes no difference here.
        if roles.style(line.key.event).0 == Style::Wakeup {
            line.key.value = 0;
        }
        line.key.owner = Owner::Task(0);
        let own = groups.entry(name).or_default();
        let place = *places.entry((name, line.key.event, line.key.value)).or_insert(own.len());
        match own.get_mut(place) {
            Some(merged) => merged.merge(&line),
            None => own.push(line),
        }
    }
    groups
}
