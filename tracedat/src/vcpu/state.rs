//! One virtual CPU: what it does, since when, and what it did.

use std::fmt;

use rustc_hash::FxHashMap;

use super::VcpuUse;
use crate::plugin::kvm_exit_reason;

/// How many of the longest preemptions are kept.
const LONGEST: usize = 5;

/// A task's name as the kernel has it, at most 16 bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Comm([u8; 16]);

impl Comm {
    pub(super) fn new(text: &[u8]) -> Self {
        let mut comm = [0; 16];
        for (to, from) in comm.iter_mut().zip(text) {
            *to = *from;
        }
        Self(comm)
    }

    /// The number in `CPU 0/KVM`, `CPU 0/TCG`.
    pub(super) fn vcpu(&self) -> Option<u32> {
        let rest = self.0.strip_prefix(b"CPU ")?;
        let number = rest.split(|&byte| byte == b'/').next().filter(|n| n.len() < rest.len())?;
        str::from_utf8(number).ok()?.parse().ok()
    }
}

impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.split(|&byte| byte == 0).next().unwrap_or_default();
        f.write_str(&String::from_utf8_lossy(text))
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// Time by state, in units of the trace's clock, and how often a state began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Times {
    /// Between `kvm_entry` and `kvm_exit`; without events of `kvm`, on a processor.
    pub in_guest: u64,
    /// On a processor, for the guest but not in it.
    pub in_host: u64,
    /// Ready to run, after another task got its processor.
    pub preempted: u64,
    /// How often.
    pub preemptions: u64,
    /// Ready to run, after it was woken.
    pub woken: u64,
    /// How often.
    pub wakeups: u64,
    /// Asleep since the guest said that it had nothing to do.
    pub halted: u64,
    /// Asleep for another reason; without events of `kvm`, for any.
    pub blocked: u64,
    /// Before its first event, and where records are lost.
    pub unknown: u64,
}

/// A time in which it was ready to run and did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Preemption {
    /// When it began.
    pub start: u64,
    /// How long it was.
    pub duration: u64,
    /// Who had the processor first.
    pub by: (i32, Comm),
    /// Whether it had just been woken, rather than lost the processor.
    pub woken: bool,
}

/// What kind of exit it was: the architecture and its number.
pub(super) type Reason = (u64, u64);

/// What a virtual CPU does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Before its first event, and where records are lost.
    Unknown,
    /// Between `kvm_entry` and `kvm_exit`; without events of `kvm`, on a processor.
    InGuest,
    /// On a processor, for the guest but not in it.
    InHost,
    /// Ready to run, after another task got its processor.
    Preempted,
    /// Ready to run, after it was woken.
    Woken,
    /// Asleep since the guest said that it had nothing to do.
    Halted,
    /// Asleep for another reason.
    Blocked,
}

/// A state, up to the start of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Span {
    /// When it began, by the trace's clock.
    pub start: u64,
    /// What it was.
    pub state: State,
}

#[derive(Clone, Copy, Debug, Default)]
struct Exit {
    time: u64,
    count: u64,
}

#[derive(Debug)]
pub(super) struct Vcpu {
    guest: String,
    cpu: u32,
    thread: i32,
    state: State,
    /// When that began; 0 before its first event.
    since: u64,
    has_begun: bool,
    /// The processor that it has or waits for.
    processor: Option<u32>,
    /// Up to when those who had its processor are known.
    charged: u64,
    /// Who has it first.
    first: Option<(i32, Comm)>,
    /// Why it was left last, where `kvm` tells.
    reason: Option<Reason>,
    in_kvm: bool,
    times: Times,
    exits: FxHashMap<Reason, Exit>,
    preempted_by: FxHashMap<i32, (Comm, u64)>,
    longest: Vec<Preemption>,
    /// All states in their order, where they are kept.
    spans: Option<Vec<Span>>,
}

impl Vcpu {
    pub(super) fn new(guest: &str, cpu: u32, thread: i32, keeps_spans: bool) -> Self {
        Self {
            guest: guest.to_owned(),
            cpu,
            thread,
            state: State::Unknown,
            since: 0,
            has_begun: false,
            processor: None,
            charged: 0,
            first: None,
            reason: None,
            in_kvm: false,
            times: Times::default(),
            exits: FxHashMap::default(),
            preempted_by: FxHashMap::default(),
            longest: Vec::with_capacity(LONGEST + 1),
            spans: keeps_spans.then(Vec::new),
        }
    }

    /// The processor that it waits for, if it is ready and does not run.
    pub(super) fn waits_for(&self) -> Option<u32> {
        self.processor.filter(|_| self.is_waiting())
    }

    pub(super) fn wait_for(&mut self, cpu: u32) {
        self.processor = Some(cpu);
    }

    /// Whether it has this processor or waits for it.
    pub(super) fn is_on(&self, cpu: u32) -> bool {
        let is_asleep = matches!(self.state, State::Halted | State::Blocked);
        self.processor == Some(cpu) && !is_asleep
    }

    /// It has a processor again.
    pub(super) fn run(&mut self, time: u64, start: u64, cpu: u32) {
        if !self.is_running() {
            // Before the first event it may have been asleep as well as ready.
            let next = if self.in_kvm { State::InHost } else { State::InGuest };
            self.change(time, start, next, None);
        }
        self.processor = Some(cpu);
    }

    /// Its processor goes on with another task.
    pub(super) fn leave(
        &mut self,
        time: u64,
        start: u64,
        is_ready: bool,
        cpu: u32,
        next: (i32, Comm),
    ) {
        self.must_have_run();
        let before = (!self.has_begun).then_some(State::InGuest);
        self.processor = Some(cpu);
        if is_ready {
            self.change(time, start, State::Preempted, before);
            self.times.preemptions += 1;
            (self.charged, self.first) = (time, Some(next));
        } else {
            let halted = self.reason.is_some_and(|(isa, reason)| is_halt(isa, reason));
            let asleep = if halted { State::Halted } else { State::Blocked };
            self.change(time, start, asleep, before);
        }
    }

    /// It is ready.
    pub(super) fn wake(&mut self, time: u64, start: u64, target: u32) {
        // A task that is about to sleep may be woken before it does.
        if self.is_running() || self.is_waiting() {
            return;
        }
        self.change(time, start, State::Woken, (!self.has_begun).then_some(State::Blocked));
        self.times.wakeups += 1;
        self.processor = Some(target);
        (self.charged, self.first) = (time, None);
    }

    pub(super) fn enter(&mut self, time: u64, start: u64) {
        self.must_have_run();
        if !self.in_kvm && self.state == State::InGuest {
            // It had a processor, but not in the guest, as is known only now.
            self.state = State::InHost;
        }
        self.in_kvm = true;
        self.change(time, start, State::InGuest, (!self.has_begun).then_some(State::InHost));
    }

    pub(super) fn exit(&mut self, time: u64, start: u64, reason: Reason) {
        self.must_have_run();
        self.in_kvm = true;
        self.change(time, start, State::InHost, (!self.has_begun).then_some(State::InGuest));
        self.reason = Some(reason);
        self.exits.entry(reason).or_default().count += 1;
    }

    /// Somebody had the processor that it waits for.
    pub(super) fn charge(&mut self, time: u64, pid: i32, comm: Comm) {
        let part = time.saturating_sub(self.charged);
        self.charged = time;
        if pid == self.thread {
            // It was woken before it slept.
            return;
        }
        self.first.get_or_insert((pid, comm));
        if part > 0 {
            self.preempted_by.entry(pid).or_insert((comm, 0)).1 += part;
        }
    }

    /// What it did up to now is not known.
    pub(super) fn forget(&mut self, time: u64, start: u64) {
        self.state = State::Unknown;
        self.change(time, start, State::Unknown, None);
    }

    pub(super) fn finish(mut self, start: u64, last: u64) -> VcpuUse {
        self.change(last, start, self.state, None);
        let mut exits: Vec<_> = self
            .exits
            .iter()
            .map(|((isa, reason), exit)| (name(*isa, *reason), exit.time, exit.count))
            .collect();
        exits.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let mut preempted_by: Vec<_> =
            self.preempted_by.iter().map(|(pid, (comm, time))| (*pid, *comm, *time)).collect();
        preempted_by.sort_by_key(|(pid, _, time)| (std::cmp::Reverse(*time), *pid));
        VcpuUse {
            guest: self.guest,
            cpu: self.cpu,
            thread: self.thread,
            times: self.times,
            exits,
            preempted_by,
            longest: self.longest,
            spans: self.spans.unwrap_or_default(),
        }
    }

    /// What it does tells that it has a processor; what it did where nobody saw it get one is not known.
    fn must_have_run(&mut self) {
        if self.has_begun && !self.is_running() {
            self.state = State::Unknown;
        }
    }

    fn is_running(&self) -> bool {
        matches!(self.state, State::InGuest | State::InHost)
    }

    fn is_waiting(&self) -> bool {
        matches!(self.state, State::Preempted | State::Woken)
    }

    /// Ends a state. Before the first event it was in `before`, where that event tells.
    fn change(&mut self, time: u64, start: u64, next: State, before: Option<State>) {
        if !self.has_begun {
            self.has_begun = true;
            self.since = start;
            self.state = before.unwrap_or(self.state);
        }
        let passed = time.saturating_sub(self.since);
        let times = &mut self.times;
        let sum = match self.state {
            State::Unknown => &mut times.unknown,
            State::InGuest => &mut times.in_guest,
            State::InHost => &mut times.in_host,
            State::Preempted => &mut times.preempted,
            State::Woken => &mut times.woken,
            State::Halted => &mut times.halted,
            State::Blocked => &mut times.blocked,
        };
        *sum = sum.saturating_add(passed);
        if let Some(spans) = self.spans.as_mut().filter(|_| passed > 0) {
            spans.push(Span { start: self.since, state: self.state });
        }
        if self.state == State::InHost
            && let Some(exit) = self.reason.and_then(|reason| self.exits.get_mut(&reason))
        {
            exit.time = exit.time.saturating_add(passed);
        }
        if self.is_waiting() {
            self.keep(Preemption {
                start: self.since,
                duration: passed,
                by: self.first.unwrap_or_default(),
                woken: self.state == State::Woken,
            });
        }
        self.state = next;
        self.since = self.since.max(time);
    }

    /// Keeps a preemption if it is one of the longest.
    fn keep(&mut self, preemption: Preemption) {
        let at = self.longest.partition_point(|kept| kept.duration >= preemption.duration);
        if at < LONGEST {
            self.longest.insert(at, preemption);
            self.longest.truncate(LONGEST);
        }
    }
}

/// Whether the guest said that it has nothing to do: HLT or MWAIT.
fn is_halt(isa: u64, reason: u64) -> bool {
    const INTEL: u64 = 1;
    match isa {
        INTEL => matches!(reason, 12 | 36),
        _ => matches!(reason, 0x78 | 0x8b),
    }
}

fn name(isa: u64, reason: u64) -> String {
    kvm_exit_reason(isa, reason).map_or_else(|| format!("reason {reason:#x}"), str::to_owned)
}
