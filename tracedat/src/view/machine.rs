//! What one file tells of its machine: which task each CPU had, and what each task did.

use rustc_hash::FxHashMap;

use super::role::{Interrupt, Role};
use super::track::Track;
use crate::metadata::Metadata;
use crate::plugin::{IntField, TextField};
use crate::ring_buffer::{MissedEvents, Record};

/// More interrupts in one another than any machine has.
const MAX_NESTED: usize = 16;

/// What a task does; a running task has its CPU in the bits above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskState {
    Unknown = 0,
    Running = 1,
    Preempted = 2,
    Woken = 3,
    Asleep = 4,
    Uninterruptible = 5,
    Dead = 6,
}

/// Bits of a [`TaskState`].
const STATE_BITS: u32 = 3;

#[derive(Debug)]
pub(super) struct Machine<'m> {
    pub(super) metadata: &'m Metadata,
    kinds: Vec<Option<Kind>>,
    /// Events of this machine as the page lists them: system and name.
    pub(super) names: Vec<(String, String)>,
    pub(super) cpus: Vec<Cpu>,
    cpu_at: FxHashMap<u32, usize>,
    pub(super) tasks: Vec<Task>,
    task_at: FxHashMap<i32, usize>,
    /// Whether it is known when CPUs go on with another task.
    pub(super) has_switches: bool,
}

/// An event, found when it first occurs.
#[derive(Debug)]
struct Kind {
    /// The buffer that has it: others that have it too tell the same once more.
    buffer: u32,
    name: usize,
    pid: Option<IntField>,
    role: Option<Role>,
}

#[derive(Debug, Default)]
pub(super) struct Cpu {
    pub(super) number: u32,
    /// Its last record.
    last: u64,
    /// Its task, the number in the list and 1.
    pub(super) running: Track,
    pub(super) interrupts: Track,
    nested: Vec<Interrupt>,
    /// How many records were lost and 1, from the last one before to the next; 1 where nobody counted.
    pub(super) lost: Track,
}

#[derive(Debug)]
pub(super) struct Task {
    pub(super) pid: i32,
    /// Its name as events told it last.
    pub(super) comm: Option<Box<[u8]>>,
    pub(super) states: Track,
}

/// An event as the page has it, in numbers of this machine's lists.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) cpu: usize,
    pub(super) name: usize,
    pub(super) task: usize,
}

impl Task {
    fn learn(&mut self, comm: Option<&[u8]>) {
        if let Some(comm) = comm
            && self.comm.as_deref() != Some(comm)
        {
            self.comm = Some(comm.into());
        }
    }

    fn set(&mut self, time: u64, state: TaskState, cpu: u32) {
        // All CPUs share the idle task.
        if self.pid != 0 {
            let cpu = if state == TaskState::Running { u64::from(cpu) } else { 0 };
            self.states.set(time, cpu << STATE_BITS | state as u64);
        }
    }

    fn runs_on(&self, cpu: u32) -> bool {
        self.states.value() == u64::from(cpu) << STATE_BITS | TaskState::Running as u64
    }

    /// Whether it waits for a CPU or has one.
    fn is_ready(&self) -> bool {
        let state = self.states.value() & ((1 << STATE_BITS) - 1);
        (TaskState::Running as u64..=TaskState::Woken as u64).contains(&state)
    }
}

impl<'m> Machine<'m> {
    pub(super) fn new(metadata: &'m Metadata) -> Self {
        Self {
            metadata,
            kinds: Vec::new(),
            names: Vec::new(),
            cpus: Vec::new(),
            cpu_at: FxHashMap::default(),
            tasks: Vec::new(),
            task_at: FxHashMap::default(),
            has_switches: false,
        }
    }

    /// Takes the next record; `time` counts from the first of all.
    pub(super) fn add(&mut self, time: u64, record: &Record<'_>) -> Mark {
        let cpu = self.cpu(record.cpu);
        let id = record.data.first_chunk().map(|id| self.metadata.abi.byte_order.u16(*id));
        let at = usize::from(id.unwrap_or(0));
        self.meet(at, record.buffer);
        let Some(Some(kind)) = self.kinds.get(at) else {
            return Mark { cpu, name: 0, task: 0 };
        };
        let (name, is_first) = (kind.name, kind.buffer == record.buffer);
        let pid = kind.pid.and_then(|pid| pid.signed(record.data)).unwrap_or(0) as i32;
        let task = self.task(pid);
        if !matches!(record.missed, MissedEvents::None | MissedEvents::Exactly(0)) {
            self.lose(cpu, time, record.missed);
        }
        // What a switch did not tell, the records behind it do.
        let running = self.cpus.get(cpu).map_or(0, |cpu| cpu.running.value());
        if running != task as u64 + 1 {
            self.forget(cpu);
            self.run(cpu, time, task);
        }
        if let Some(cpu) = self.cpus.get_mut(cpu) {
            cpu.last = time;
        }
        if is_first {
            self.follow(cpu, time, at, record.data);
        }
        Mark { cpu, name, task }
    }

    fn cpu(&mut self, number: u32) -> usize {
        *self.cpu_at.entry(number).or_insert_with(|| {
            self.cpus.push(Cpu { number, ..Cpu::default() });
            self.cpus.len() - 1
        })
    }

    /// The place of a task in the list.
    pub(super) fn task(&mut self, pid: i32) -> usize {
        *self.task_at.entry(pid).or_insert_with(|| {
            self.tasks.push(Task { pid, comm: None, states: Track::default() });
            self.tasks.len() - 1
        })
    }

    fn meet(&mut self, id: usize, buffer: u32) {
        if id >= self.kinds.len() {
            self.kinds.resize_with(id + 1, || None);
        }
        let Some(kind @ None) = self.kinds.get_mut(id) else { return };
        let event = u16::try_from(id).ok().and_then(|id| self.metadata.event_by_id(id));
        let format = event.map(|event| &event.format);
        self.names.push(match format {
            Some(format) => (format.system.clone(), format.name.clone()),
            None => (String::new(), format!("event {id}")),
        });
        *kind = Some(Kind {
            buffer,
            name: self.names.len() - 1,
            pid: match format {
                Some(f) => f.common_field("common_pid").and_then(|pid| IntField::new(pid, f.abi)),
                None => IntField::at(4, 4, self.metadata.abi),
            },
            role: format.and_then(Role::of),
        });
    }

    fn run(&mut self, cpu: usize, time: u64, task: usize) {
        let (Some(cpu), Some(task_of)) = (self.cpus.get_mut(cpu), self.tasks.get_mut(task)) else {
            return;
        };
        cpu.running.set(time, task as u64 + 1);
        task_of.set(time, TaskState::Running, cpu.number);
    }

    /// Records of a CPU are lost: what it did since its last one is not known.
    fn lose(&mut self, at: usize, time: u64, missed: MissedEvents) {
        let Some(cpu) = self.cpus.get_mut(at) else { return };
        let count = match missed {
            MissedEvents::Exactly(count) => count.saturating_add(1),
            _ => 1,
        };
        cpu.lost.set(cpu.last, count);
        cpu.lost.set(time, 0);
        cpu.nested.clear();
        cpu.interrupts.set(cpu.last, 0);
        self.forget(at);
    }

    /// Which task a CPU had since its last record is not known.
    fn forget(&mut self, cpu: usize) {
        let Some(cpu) = self.cpus.get_mut(cpu) else { return };
        let running = cpu.running.value().checked_sub(1);
        cpu.running.set(cpu.last, 0);
        let task = running.and_then(|task| self.tasks.get_mut(task as usize));
        // It may be known to do something else since.
        if let Some(task) = task.filter(|task| task.runs_on(cpu.number)) {
            task.set(cpu.last, TaskState::Unknown, 0);
        }
    }

    fn follow(&mut self, cpu: usize, time: u64, kind: usize, data: &[u8]) {
        let Some(Some(Kind { role: Some(role), .. })) = self.kinds.get(kind) else { return };
        let pid = |field: &IntField| field.signed(data).map(|pid| pid as i32);
        let comm = |field: &Option<TextField>| field.as_ref().and_then(|field| field.get(data));
        match role {
            Role::Switch(switch) => {
                let (Some(prev), Some(next), Some(state)) =
                    (pid(&switch.prev_pid), pid(&switch.next_pid), switch.prev_state.get(data))
                else {
                    return;
                };
                let (prev_comm, next_comm) = (comm(&switch.prev_comm), comm(&switch.next_comm));
                self.has_switches = true;
                let (prev, next) = (self.task(prev), self.task(next));
                if let Some(task) = self.tasks.get_mut(prev) {
                    task.learn(prev_comm);
                    task.set(time, state_of(state), 0);
                }
                if let Some(task) = self.tasks.get_mut(next) {
                    task.learn(next_comm);
                }
                self.run(cpu, time, next);
            }
            Role::Wakeup(wakeup) => {
                if wakeup.is_none(data) {
                    return;
                }
                let (Some(woken), name) = (pid(&wakeup.pid), comm(&wakeup.comm)) else { return };
                let at = self.task(woken);
                if let Some(task) = self.tasks.get_mut(at) {
                    task.learn(name);
                    // It may be woken before it sleeps.
                    if !task.is_ready() {
                        task.set(time, TaskState::Woken, 0);
                    }
                }
            }
            Role::Enter(interrupt) => {
                let interrupt = *interrupt;
                let Some(cpu) = self.cpus.get_mut(cpu) else { return };
                if cpu.nested.len() < MAX_NESTED {
                    cpu.nested.push(interrupt);
                    cpu.interrupts.set(time, interrupt as u64);
                }
            }
            Role::Leave(interrupt) => {
                let interrupt = *interrupt;
                let Some(cpu) = self.cpus.get_mut(cpu) else { return };
                if let Some(at) = cpu.nested.iter().rposition(|nested| *nested == interrupt) {
                    cpu.nested.truncate(at);
                    cpu.interrupts.set(time, cpu.nested.last().map_or(0, |outer| *outer as u64));
                }
            }
        }
    }
}

/// Why a task gave its CPU away, by the kernel's bits.
fn state_of(bits: u64) -> TaskState {
    match bits & 0xff {
        0 => TaskState::Preempted,
        bits if bits & 0x30 != 0 => TaskState::Dead,
        bits if bits & 0x02 != 0 => TaskState::Uninterruptible,
        _ => TaskState::Asleep,
    }
}
