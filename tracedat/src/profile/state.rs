//! What is going on while records come in: tasks, what they wait for, and what was counted so far.

use rustc_hash::FxHashMap;

use super::pending::{Pending, Ticket};
use super::role::{End, Kind, Role, Scope, Start};
use super::stack::Stacks;
use super::tally::{Key, Owner, Tallies};
use crate::plugin::{IntField, TextField};
use crate::ring_buffer::{MissedEvents, Record};

/// The bits of a task's state that have letters; without any it could go on running.
const STATES: u64 = (1 << super::text::STATE_LETTERS.len()) - 1;

/// All that changes with each record.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) tasks: FxHashMap<i32, Task>,
    pub(super) tallies: Tallies,
    pub(super) stacks: Stacks,
    pending: Pending,
    /// The numbers of these events, once they occurred.
    switch: Option<u16>,
    wakeup: Option<u16>,
}

/// A task that was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Task {
    /// Its name, if the scheduler's events told it since it started its program.
    pub(super) comm: Option<Box<[u8]>>,
    /// Whether it stopped because it waits for something, and was not woken yet.
    sleeps: bool,
    awaits_stack: Awaits,
}

/// Whose stack the next stack trace of a task is.
#[derive(Clone, Copy, Debug, Default)]
enum Awaits {
    #[default]
    Nothing,
    /// Of something that started.
    Start(Ticket),
    /// Of something that is counted in this line.
    Counted { line: u32, duration: u64 },
}

impl Task {
    fn learn(&mut self, comm: Option<&[u8]>) {
        if self.comm.is_none() {
            self.comm = comm.map(Into::into);
        }
    }
}

impl State {
    /// Takes the next record of the event with number `id`.
    pub(super) fn take(&mut self, id: u16, role: &Role, record: &Record<'_>) {
        let data = record.data;
        let time = record.time;
        if record.missed != MissedEvents::None {
            self.pending.lose(record.cpu);
        }
        let pid = role.pid.map_or(0, |field| task_id(field, data));
        let awaited = std::mem::take(&mut self.task(pid).awaits_stack);
        let awaits = match &role.kind {
            Kind::Switch { prev_pid, prev_comm, prev_state, next_pid, next_comm } => {
                let (prev, next) = (task_id(*prev_pid, data), task_id(*next_pid, data));
                let state = prev_state.get(data).unwrap_or(0) & STATES;
                self.task(prev).learn(text(prev_comm.as_ref(), data));
                self.task(next).learn(text(next_comm.as_ref(), data));
                self.switch(id, prev, state, next, time)
            }
            Kind::Wakeup { pid, comm, success } => {
                let woken = task_id(*pid, data);
                self.task(woken).learn(text(comm.as_ref(), data));
                match success.and_then(|field| field.get(data)) {
                    Some(0) => Awaits::Nothing,
                    _ => self.wake(id, woken, time),
                }
            }
            Kind::Exec => {
                self.task(pid).comm = None;
                Awaits::Nothing
            }
            Kind::Stack(callers) => {
                if let Some(stack) = self.stacks.intern(*callers, data) {
                    self.attach(awaited, stack, time);
                }
                Awaits::Nothing
            }
            Kind::Call { function, start } => {
                let function = function.get(data).unwrap_or(0);
                let key = Key { owner: Owner::Task(pid), event: *start, value: function };
                self.pending.start(key, None, time, function);
                Awaits::Nothing
            }
            Kind::Return { function, start } => {
                let function = function.get(data).unwrap_or(0);
                self.end(Key { owner: Owner::Task(pid), event: *start, value: function }, time);
                Awaits::Nothing
            }
            Kind::Pair { end, start } => {
                let ended = end.map(|end| self.end_pair(&end, role, pid, record));
                let started = start.map(|start| self.start_pair(id, &start, role, pid, record));
                started.or(ended).unwrap_or_default()
            }
            Kind::Count { value } => {
                let value = value.map_or(0, |field| role.value(field, data));
                let key = Key { owner: Owner::Task(pid), event: id, value };
                Awaits::Counted { line: self.tallies.add(key, 0, time), duration: 0 }
            }
        };
        self.task(pid).awaits_stack = awaits;
    }

    fn task(&mut self, pid: i32) -> &mut Task {
        self.tasks.entry(pid).or_default()
    }

    fn switch(&mut self, id: u16, prev: i32, state: u64, next: i32, time: u64) -> Awaits {
        self.switch = Some(id);
        self.task(prev).sleeps = state != 0;
        let key = |task, event| Key { owner: Owner::Task(task), event, value: 0 };
        let ticket = self.pending.start(key(prev, id), None, time, state);
        if let Some(wakeup) = self.wakeup {
            self.end(key(next, wakeup), time);
        }
        self.end(key(next, id), time);
        Awaits::Start(ticket)
    }

    /// A task that waited for something is ready to run.
    fn wake(&mut self, id: u16, woken: i32, time: u64) -> Awaits {
        self.wakeup = Some(id);
        if !std::mem::take(&mut self.task(woken).sleeps) {
            return Awaits::Nothing;
        }
        let key = |event| Key { owner: Owner::Task(woken), event, value: 0 };
        if let Some(switch) = self.switch {
            self.end(key(switch), time);
        }
        Awaits::Start(self.pending.start(key(id), None, time, u64::from(woken as u32)))
    }

    fn start_pair(
        &mut self,
        id: u16,
        start: &Start,
        role: &Role,
        pid: i32,
        record: &Record<'_>,
    ) -> Awaits {
        let pid = start.pid.map_or(pid, |field| task_id(field, record.data));
        let value = role.value(start.field, record.data);
        let key = Key { owner: owner(start.scope, pid, record.cpu), event: id, value };
        let cpu = start.pinned.then_some(record.cpu);
        let ticket = self.pending.start(key, cpu, record.time, value);
        if start.scope == Scope::Task { Awaits::Start(ticket) } else { Awaits::Nothing }
    }

    fn end_pair(&mut self, end: &End, role: &Role, pid: i32, record: &Record<'_>) -> Awaits {
        let value = role.value(end.field, record.data);
        let key = Key { owner: owner(end.scope, pid, record.cpu), event: end.start, value };
        match self.end(key, record.time) {
            Some((line, duration)) if end.scope == Scope::Task => {
                Awaits::Counted { line, duration }
            }
            _ => Awaits::Nothing,
        }
    }

    /// Counts what started last under the key; returns its line and how long it took.
    fn end(&mut self, key: Key, time: u64) -> Option<(u32, u64)> {
        let start = self.pending.end(key)?;
        // Clocks of CPUs may differ a little.
        let duration = time.saturating_sub(start.time);
        let line = self.tallies.add(Key { value: start.value, ..key }, duration, time);
        if let Some((stack, at)) = start.stack {
            self.tallies.add_stack(line, stack, duration, at);
        }
        Some((line, duration))
    }

    fn attach(&mut self, awaited: Awaits, stack: u32, time: u64) {
        match awaited {
            Awaits::Nothing => {}
            Awaits::Start(ticket) => self.pending.attach(ticket, stack, time),
            Awaits::Counted { line, duration } => {
                self.tallies.add_stack(line, stack, duration, time);
            }
        }
    }
}

fn owner(scope: Scope, pid: i32, cpu: u32) -> Owner {
    match scope {
        Scope::Task => Owner::Task(pid),
        Scope::Cpu => Owner::Cpu(cpu),
        Scope::Machine => Owner::Machine,
    }
}

fn task_id(field: IntField, data: &[u8]) -> i32 {
    field.get(data).unwrap_or(0) as i32
}

fn text<'a>(field: Option<&TextField>, data: &'a [u8]) -> Option<&'a [u8]> {
    field?.get(data)
}
