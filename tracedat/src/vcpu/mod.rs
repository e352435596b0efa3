//! Why a guest was not running: what became of the time of each virtual CPU, from its host's events.
//!
//! ```text
//!            kvm_entry                    sched_switch (ready)
//!   in host ──────────► in guest    any ──────────────────────► preempted ──┐ sched_switch
//!           ◄──────────             any ──► halted, blocked ──► woken ──────┴────────────► in host
//!            kvm_exit                    sched_switch (asleep)  sched_wakeup
//! ```
//!
//! Without events of `kvm` (or where QEMU translates the guest's instructions itself), a virtual CPU whose thread has a processor
//! counts as running in the guest. All states of a virtual CPU together are the whole time of the trace.

mod event;
mod print;
mod state;

use rustc_hash::FxHashMap;

use crate::metadata::{Metadata, VirtualCpu};
use crate::ring_buffer::{MissedEvents, Record};
use event::{Events, Told};
use state::Vcpu;

pub use print::{Unit, print};
pub use state::{Comm, Preemption, Span, State, Times};

/// More processors than any machine has; a damaged file may tell of more.
const MAX_CPUS: u32 = 1 << 16;
/// More virtual CPUs than are told of, where the file does not name them.
const MAX_LEARNED: usize = 4096;

/// Adds up what became of the time of virtual CPUs.
#[derive(Debug)]
pub struct VcpuTimes<'m> {
    events: Events<'m>,
    vcpus: Vec<Vcpu>,
    by_thread: FxHashMap<i32, usize>,
    /// Whether virtual CPUs that nobody named are found by what they do and how they are called.
    learns: bool,
    keeps_spans: bool,
    processors: Vec<Processor>,
    start: Option<u64>,
    last: u64,
}

/// A task of the host: process id and name.
type Task = (i32, Comm);

/// A processor of the host.
#[derive(Clone, Copy, Debug, Default)]
struct Processor {
    /// Its task, as the last switch told.
    task: Option<Task>,
    /// Virtual CPUs that wait for it.
    waiting: u32,
}

/// What became of the time of one virtual CPU, in units of the trace's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VcpuUse {
    /// The guest's name; empty where the file does not tell.
    pub guest: String,
    /// Number in the guest.
    pub cpu: u32,
    /// The host's thread, -1 when that is not known.
    pub thread: i32,
    /// Its time, by state.
    pub times: Times,
    /// Time in the host after an exit, by the reason, and how often; the longest first.
    pub exits: Vec<(String, u64, u64)>,
    /// Who had the processor while it was ready to run, and for how long; the longest first.
    pub preempted_by: Vec<(i32, Comm, u64)>,
    /// The longest times of being ready and not running, the longest first.
    pub longest: Vec<Preemption>,
    /// All states in their order, with [`VcpuTimes::with_spans`].
    pub spans: Vec<Span>,
}

impl<'m> VcpuTimes<'m> {
    /// For the virtual CPUs that the host's file names (option GUEST). Where it names none, for those that `kvm` tells of, and
    /// threads called as QEMU calls them, `CPU 0/KVM`.
    pub fn new(host: &'m Metadata) -> Self {
        Self::of(host, false)
    }

    /// The same, and keeps every state, some bytes each.
    pub fn with_spans(host: &'m Metadata) -> Self {
        Self::of(host, true)
    }

    fn of(host: &'m Metadata, keeps_spans: bool) -> Self {
        let mut times = Self {
            events: Events::new(host),
            vcpus: Vec::new(),
            by_thread: FxHashMap::default(),
            learns: false,
            keeps_spans,
            processors: Vec::new(),
            start: None,
            last: 0,
        };
        for guest in host.guests() {
            for VirtualCpu { cpu, pid } in &guest.cpus {
                times.watch(&guest.name, *cpu, *pid);
            }
        }
        times.learns = times.by_thread.is_empty();
        if times.learns {
            times.vcpus.clear();
        }
        times
    }

    fn watch(&mut self, guest: &str, cpu: u32, thread: i32) {
        if thread >= 0 {
            self.by_thread.insert(thread, self.vcpus.len());
        }
        self.vcpus.push(Vcpu::new(guest, cpu, thread, self.keeps_spans));
    }

    /// Takes the host's next record, oldest first.
    pub fn add(&mut self, record: &Record<'_>) {
        let time = record.time;
        let start = *self.start.get_or_insert(time);
        self.last = self.last.max(time);
        if !matches!(record.missed, MissedEvents::None | MissedEvents::Exactly(0)) {
            self.forget(record.cpu, time);
        }
        let Some(told) = self.events.told(record) else { return };
        match told {
            Told::Switch { prev, prev_is_ready, next } => {
                self.switch(record.cpu, time, prev, prev_is_ready, next);
            }
            Told::Wakeup { pid, target } => {
                self.update(self.vcpu(pid), |vcpu| vcpu.wake(time, start, target));
            }
            Told::Migrate { pid, target } => self.migrate(self.vcpu(pid), time, target),
            Told::Entry { thread, vcpu } => {
                let index = self.vcpu_in_kvm(thread, vcpu);
                self.update(index, |vcpu| vcpu.enter(time, start));
            }
            Told::Exit { thread, vcpu, reason } => {
                let index = self.vcpu_in_kvm(thread, vcpu);
                self.update(index, |vcpu| vcpu.exit(time, start, reason));
            }
        }
    }

    /// What became of each virtual CPU's time up to the last record, in the order of the file.
    pub fn finish(mut self) -> Vec<VcpuUse> {
        for cpu in 0..self.processors.len() as u32 {
            self.charge(cpu, self.last);
        }
        let (start, last) = (self.start.unwrap_or(0), self.last);
        let mut uses: Vec<VcpuUse> =
            self.vcpus.into_iter().map(|vcpu| vcpu.finish(start, last)).collect();
        if self.learns {
            uses.sort_by_key(|vcpu| (vcpu.cpu, vcpu.thread));
        }
        uses
    }

    fn vcpu(&self, thread: i32) -> Option<usize> {
        self.by_thread.get(&thread).copied()
    }

    fn vcpu_in_kvm(&mut self, thread: i32, cpu: Option<u32>) -> Option<usize> {
        let known = self.vcpu(thread);
        if known.is_some() || !self.learns || self.vcpus.len() >= MAX_LEARNED {
            return known;
        }
        self.watch("", cpu?, thread);
        Some(self.vcpus.len() - 1)
    }

    /// Watches a thread that QEMU has named after its virtual CPU.
    fn learn(&mut self, (thread, comm): Task) {
        if self.learns
            && self.vcpus.len() < MAX_LEARNED
            && let Some(cpu) = comm.vcpu()
            && self.vcpu(thread).is_none()
        {
            self.watch("", cpu, thread);
        }
    }

    /// Changes a virtual CPU, and keeps count of those that wait.
    fn update(&mut self, index: Option<usize>, change: impl FnOnce(&mut Vcpu)) {
        let Some(vcpu) = index.and_then(|index| self.vcpus.get_mut(index)) else { return };
        let before = vcpu.waits_for();
        change(vcpu);
        let after = vcpu.waits_for();
        if before != after {
            self.count_waiting(before, -1);
            self.count_waiting(after, 1);
        }
    }

    fn processor(&mut self, cpu: u32) -> Option<&mut Processor> {
        if cpu >= MAX_CPUS {
            return None;
        }
        let cpu = cpu as usize;
        if cpu >= self.processors.len() {
            self.processors.resize_with(cpu + 1, Processor::default);
        }
        self.processors.get_mut(cpu)
    }

    fn count_waiting(&mut self, cpu: Option<u32>, change: i32) {
        if let Some(processor) = cpu.and_then(|cpu| self.processor(cpu)) {
            processor.waiting = processor.waiting.saturating_add_signed(change);
        }
    }

    /// Whoever has the processor took its time from those that wait for it.
    fn charge(&mut self, cpu: u32, time: u64) {
        let Some(Processor { task: Some((pid, comm)), waiting: 1.. }) =
            self.processors.get(cpu as usize).copied()
        else {
            return;
        };
        for vcpu in self.vcpus.iter_mut().filter(|vcpu| vcpu.waits_for() == Some(cpu)) {
            vcpu.charge(time, pid, comm);
        }
    }

    fn switch(&mut self, cpu: u32, time: u64, prev: Task, prev_is_ready: bool, next: Task) {
        let start = self.start.unwrap_or(time);
        self.learn(prev);
        self.learn(next);
        if let Some(processor) = self.processor(cpu) {
            processor.task = Some(prev);
        }
        self.charge(cpu, time);
        if let Some(processor) = self.processor(cpu) {
            processor.task = Some(next);
        }
        let leaves = self.vcpu(prev.0);
        self.update(leaves, |vcpu| vcpu.leave(time, start, prev_is_ready, cpu, next));
        let runs = self.vcpu(next.0);
        self.migrate(runs, time, cpu);
        self.update(runs, |vcpu| vcpu.run(time, start, cpu));
    }

    /// It waits for another processor now, if it waits.
    fn migrate(&mut self, index: Option<usize>, time: u64, target: u32) {
        let vcpu = index.and_then(|index| self.vcpus.get(index));
        let Some(from) = vcpu.and_then(Vcpu::waits_for).filter(|from| *from != target) else {
            return;
        };
        let task = self.processors.get(from as usize).and_then(|processor| processor.task);
        self.update(index, |vcpu| {
            if let Some((pid, comm)) = task {
                vcpu.charge(time, pid, comm);
            }
            vcpu.wait_for(target);
        });
    }

    /// Records of a processor are lost: what was there since the last one is not known.
    fn forget(&mut self, cpu: u32, time: u64) {
        let start = self.start.unwrap_or(time);
        if let Some(processor) = self.processor(cpu) {
            *processor = Processor::default();
        }
        for vcpu in self.vcpus.iter_mut().filter(|vcpu| vcpu.is_on(cpu)) {
            vcpu.forget(time, start);
        }
    }
}
