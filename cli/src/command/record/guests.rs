//! The guests of a recording, as the host sees them.

use std::path::{Path, PathBuf};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use trace_virt::agent::possible_cpus;
use trace_virt::host::{
    AgentGuest, CpuReport, ExecStatus, Guest, GuestSession, HostError, PreparedGuest, SessionEnd,
    SessionEvent, StartRequest,
};
use trace_virt::setup::{GuestName, VirtDir};
use trace_virt::time_sync::Sample;
use trace_virt::vcpu::VcpuThreads;
use tracedat::Abi;
use tracedat::layout::OptionId;
use tracedat::metadata::{TscToNsec, VirtualCpu};
use tracedat::write::{self, Placement};

use super::agents;
use super::args::AgentArgs;
use super::gate::{Gate, Ticket};
use super::guest_clock::{self, Counters, GuestClock};
use super::guest_file::{Closed, GuestFile};
use super::guest_output::GuestOutput;
use super::guest_sink::{GuestSink, MakePlace};
use super::marker_clock::mark_clock;
use super::plan::{GuestPlan, Plan};
use super::proxied::{OwnOptions, ProxyHead};
use super::{summary, tsc};
use crate::command::tracing_plan::COUNTER;
use crate::error::Error;
use crate::exit_code::Exit;
use crate::nearest::did_you_mean_guest;
use crate::output::tell;

/// What the files of guests say of their host's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostFile {
    pub(crate) trace_id: u64,
    /// The factor from its ticks to nanoseconds, where ticks are what it counts.
    pub(crate) tsc_to_nsec: Option<TscToNsec>,
}

/// A guest that is not recorded, or whose file cannot be made.
#[derive(Debug)]
pub(crate) struct LostGuest {
    pub(crate) name: String,
    pub(crate) error: Error,
}

/// A guest that answers.
pub(crate) enum Reached {
    /// By way of the running server.
    Server(Box<Guest>),
    /// Its agent.
    Agent(Box<AgentGuest>),
}

/// Reaches all guests of a plan through the running server, or their agents, side by side.
///
/// # Errors
/// A name that no guest can have.
pub(crate) fn connect(
    dir: &VirtDir,
    plans: &[GuestPlan],
    args: &AgentArgs,
) -> Result<Vec<Result<Reached, LostGuest>>, Error> {
    let mut names = Vec::with_capacity(plans.len());
    for plan in plans {
        let usage = |error| Error::usage(format!("--dom {}", plan.name)).because(error);
        let name = plan.agent.is_none().then(|| GuestName::new(&plan.name));
        names.push(name.transpose().map_err(usage)?);
    }
    let connect = |(name, plan): (Option<GuestName>, &GuestPlan)| {
        let reached = match (name, &plan.agent) {
            (Some(name), _) => {
                let guest = Guest::connect(dir, &name).map_err(guest_error);
                guest.map(|guest| Reached::Server(Box::new(guest)))
            }
            (None, Some(address)) => {
                let agent = agents::connect(dir, plan, address, args);
                agent.map(|agent| Reached::Agent(Box::new(agent)))
            }
            (None, None) => Err(Error::failure("a guest without a name")),
        };
        reached.map_err(|error| plan.lost(error))
    };
    Ok(side_by_side(names.into_iter().zip(plans), connect))
}

/// Whether KVM tells of all that were reached, and of all their CPUs, how their ticks follow from those of this machine, so
/// that no clocks need to be measured.
pub(super) fn have_exact_ticks(connected: &[Result<Reached, LostGuest>]) -> bool {
    let is_exact = |guest: &Reached| match guest {
        Reached::Server(guest) => {
            let counts_ticks = guest.info().clocks.iter().any(|clock| clock == COUNTER);
            let told = |pid| Counters::read(pid, guest.info().cpus).is_some();
            counts_ticks && guest.qemu().is_some_and(told)
        }
        Reached::Agent(_) => false,
    };
    let mut reached = connected.iter().flatten().peekable();
    reached.peek().is_some() && reached.all(is_exact) && tsc::is_constant()
}

/// Starts the recording in those that were reached: all are asked at the same time, and begin at the same time once all
/// have set tracing up. One that takes long for that holds the others up for [some time](Gate) only.
pub(crate) fn start<S: GuestSink>(
    connected: Vec<Result<Reached, LostGuest>>,
    plans: &[GuestPlan],
    place: MakePlace<'_, S>,
    trace_id: u64,
) -> Vec<Result<RunningGuest<S>, LostGuest>> {
    let prepare = |(guest, plan): (Result<Reached, LostGuest>, &GuestPlan)| {
        ReadyGuest::prepare(guest?, plan, place, trace_id).map_err(|error| plan.lost(error))
    };
    let ready = side_by_side(connected.into_iter().zip(plans), prepare);
    let (gate, begin) = (Gate::new(), Instant::now());
    let tickets: Vec<_> = ready.iter().map(|_| gate.ticket()).collect();
    let start =
        |((guest, plan), ticket): ((Result<ReadyGuest<S>, LostGuest>, &GuestPlan), Ticket<'_>)| {
            guest?.start(plan, ticket, begin).map_err(|error| plan.lost(error))
        };
    side_by_side(ready.into_iter().zip(plans).zip(tickets), start)
}

/// What is left to record is recorded; who cannot be is told.
///
/// # Errors
/// Nothing is left.
pub(crate) fn with_something_left<T>(
    guests: Vec<Result<T, LostGuest>>,
    plan: &Plan,
) -> Result<Vec<Result<T, LostGuest>>, Error> {
    let is_left = plan.host.traces_something() || guests.iter().any(Result::is_ok);
    if is_left || guests.is_empty() {
        return Ok(guests);
    }
    let mut errors = guests.into_iter().filter_map(Result::err).map(|lost| lost.error);
    let first = errors.next().unwrap_or_else(|| Error::failure("nothing is recorded"));
    errors.for_each(|error| tell(&error.to_string()));
    Err(first)
}

/// The guests of a recording that runs.
pub(crate) struct Guests<S = GuestFile> {
    running: Vec<RunningGuest<S>>,
    /// Those that could not be started.
    lost: Vec<LostGuest>,
}

impl<S> Default for Guests<S> {
    fn default() -> Self {
        Self { running: Vec::new(), lost: Vec::new() }
    }
}

impl Guests {
    /// Gives their files the names.
    pub(super) fn publish(&self) -> Result<(), Error> {
        self.running.iter().try_for_each(RunningGuest::publish)
    }
}

impl<S: GuestSink> Guests<S> {
    /// Starts those that were reached, and tells who is lost.
    ///
    /// # Errors
    /// Nothing is left to record.
    pub(crate) fn start(
        connected: Vec<Result<Reached, LostGuest>>,
        plan: &Plan,
        place: MakePlace<'_, S>,
        trace_id: u64,
    ) -> Result<Self, Error> {
        let started = start(connected, &plan.guests, place, trace_id);
        let mut guests = Self::default();
        for guest in with_something_left(started, plan)? {
            match guest {
                Ok(guest) => guests.running.push(guest),
                Err(guest) => {
                    tell(&guest.error.to_string());
                    guests.lost.push(guest);
                }
            }
        }
        Ok(guests)
    }

    /// How many are recorded.
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Runs their commands.
    pub(crate) fn exec(&mut self) {
        self.running.iter_mut().for_each(RunningGuest::exec);
    }

    /// Those that are recorded.
    pub(crate) fn running(&mut self) -> impl Iterator<Item = &mut RunningGuest<S>> {
        self.running.iter_mut()
    }

    /// Takes note of what happened since the last look.
    pub(crate) fn take_news(&mut self) {
        self.running.iter_mut().for_each(RunningGuest::take_news);
    }

    /// Whether the command of any is still to end.
    pub(crate) fn have_commands(&self) -> bool {
        self.running.iter().any(RunningGuest::is_running)
    }

    /// Whether any can still send.
    pub(crate) fn are_there(&self) -> bool {
        self.running.iter().any(RunningGuest::is_there)
    }

    /// Ends all side by side; the lost ones come last.
    pub(crate) fn finish(self, host: &HostFile) -> Vec<Result<FinishedGuest, LostGuest>> {
        let mut finished = finish(self.running, host);
        finished.extend(self.lost.into_iter().map(Err));
        finished
    }
}

/// Ends all side by side; each is asked for what it has, whatever became of the others.
pub(super) fn finish<S: GuestSink>(
    running: Vec<RunningGuest<S>>,
    host: &HostFile,
) -> Vec<Result<FinishedGuest, LostGuest>> {
    let finished = side_by_side(running.into_iter(), |guest| guest.finish(host));
    for lost in finished.iter().filter_map(|guest| guest.as_ref().err()) {
        tell(&format!("{}: {}", lost.name, lost.error));
    }
    finished
}

/// What the guests make of a recording's outcome.
pub(crate) struct Conclusion {
    pub(crate) exit: Exit,
    pub(crate) has_losses: bool,
}

/// Says what became of each.
pub(crate) fn conclude(
    guests: &[Result<FinishedGuest, LostGuest>],
    quiet: bool,
) -> Result<Conclusion, Error> {
    let (mut exit, mut has_losses) = (Exit::Success, false);
    for guest in guests {
        let Ok(guest) = guest else {
            exit = Exit::Guest;
            continue;
        };
        has_losses |= guest.has_losses();
        summary::of_guest(guest, quiet)?;
        if guest.end != SessionEnd::Complete {
            exit = Exit::Guest;
        } else if guest.has_failed && exit == Exit::Success {
            exit = Exit::Failure;
        }
    }
    Ok(Conclusion { exit, has_losses })
}

/// A thread for each; the results in order.
fn side_by_side<T: Send, R: Send>(
    all: impl Iterator<Item = T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = all.map(|one| scope.spawn(move || work(one))).collect();
        threads.into_iter().map(joined).collect()
    })
}

/// A guest that waits to be asked to record.
struct ReadyGuest<S: GuestSink> {
    guest: Prepared,
    place: S::Place,
    threads: VcpuThreads,
    counters: Option<Counters>,
}

/// What is left to do is to ask.
enum Prepared {
    Server(Box<PreparedGuest>),
    Agent(Box<AgentGuest>, StartRequest),
}

impl Prepared {
    /// Agents begin by themselves: the others begin when they have.
    fn start(self, ticket: Ticket<'_>) -> Result<GuestSession, HostError> {
        match self {
            Self::Server(guest) => {
                let ready = guest.ask()?;
                ticket.wait();
                ready.begin()
            }
            Self::Agent(guest, request) => {
                let clock = request.host_clock.as_deref();
                guest.start(&request, clock.and_then(|clock| mark_clock(clock).ok()))
            }
        }
    }
}

impl<S: GuestSink> ReadyGuest<S> {
    fn prepare(
        guest: Reached,
        plan: &GuestPlan,
        place: MakePlace<'_, S>,
        trace_id: u64,
    ) -> Result<Self, Error> {
        let place = place(plan)?;
        let request = StartRequest {
            args: plan.arguments.clone(),
            exec: plan.exec.clone(),
            trace_id,
            host_clock: plan.clock.clone(),
            guest_clock: plan.clock.clone(),
            ..StartRequest::default()
        };
        let guest = match guest {
            Reached::Server(guest) => guest,
            Reached::Agent(guest) => {
                let guest = Prepared::Agent(guest, request);
                return Ok(Self { guest, place, threads: VcpuThreads::default(), counters: None });
            }
        };
        let cpus = guest.info().cpus;
        let process = guest.qemu();
        let threads =
            process.map_or_else(VcpuThreads::default, |pid| VcpuThreads::of_process(pid, cpus));
        let has_counters = plan.clock.as_deref() == Some(COUNTER);
        let counters = process.filter(|_| has_counters).and_then(|pid| Counters::read(pid, cpus));
        let guest = Prepared::Server(Box::new(guest.prepare(&request).map_err(guest_error)?));
        Ok(Self { guest, place, threads, counters })
    }

    /// Starts the recording in the guest and the flow of its data.
    fn start(
        self,
        plan: &GuestPlan,
        ticket: Ticket<'_>,
        begin: Instant,
    ) -> Result<RunningGuest<S>, Error> {
        let mut session = self.guest.start(ticket).map_err(guest_error)?;
        let (proxy, sink) = match Self::open(self.place, &mut session, plan) {
            Ok(opened) => opened,
            Err(error) => {
                // Told that all is over, it puts its tracing back; why comes first.
                let _ = session.close();
                return Err(error);
            }
        };
        let since_begin = |time: Instant| time.saturating_duration_since(begin).as_micros();
        let session_start = session.started;
        let started = Started {
            asked: since_begin(session_start.asked_at),
            ready: since_begin(session_start.ready_at),
            told: session_start.told_at.map(since_begin),
            tracing_on: None,
        };
        Ok(RunningGuest {
            name: plan.title().to_owned(),
            session,
            proxy,
            sink,
            threads: self.threads,
            counters: self.counters,
            counts_ticks: plan.clock.as_deref() == Some(COUNTER),
            has_command: plan.exec.is_some(),
            exec: Exec::None,
            started,
            is_there: true,
            said: (!plan.is_own).then(S::output),
        })
    }

    /// Finds out what comes, and where it goes.
    fn open(
        place: S::Place,
        session: &mut GuestSession,
        plan: &GuestPlan,
    ) -> Result<(Option<ProxyHead>, S), Error> {
        let mut proxy = None;
        if plan.is_proxy {
            let (trace_id, cpus) = (session.trace_id, session.cpus);
            let unusable = |error| {
                let text = format!("{}: what it sent is no usable head", plan.name);
                Error::new(Exit::Guest, text).because(error)
            };
            proxy = Some(ProxyHead::new(&mut session.head, trace_id, cpus).map_err(unusable)?);
        }
        Ok((proxy, S::open(place, session, plan)?))
    }
}

/// When a guest began to record: microseconds after all were reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Started {
    pub(crate) asked: u128,
    /// When it said that it had all set up.
    pub(crate) ready: u128,
    /// When it was told to begin, if it waited for that.
    pub(crate) told: Option<u128>,
    /// When tracing was on there, on the host's trace clock, as far as that is known.
    pub(crate) tracing_on: Option<u64>,
}

/// A guest that records.
pub(crate) struct RunningGuest<S = GuestFile> {
    name: String,
    session: GuestSession,
    /// It is the host of this machine.
    proxy: Option<ProxyHead>,
    sink: S,
    threads: VcpuThreads,
    /// What KVM says of their clocks, if that is what they record.
    counters: Option<Counters>,
    /// Its stamps are of the processor's counter.
    counts_ticks: bool,
    has_command: bool,
    exec: Exec,
    started: Started,
    is_there: bool,
    /// Where output of its command goes, if it is ours to show.
    said: Option<GuestOutput>,
}

/// What is known of the command in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exec {
    /// None was asked for.
    None,
    /// It runs.
    Running,
    /// It ended so.
    Ended(ExecStatus),
    /// The guest went away first.
    Lost,
}

/// What a guest brought.
#[derive(Debug)]
pub(crate) struct FinishedGuest {
    pub(crate) name: String,
    /// Its file, if there is one.
    pub(crate) path: Option<PathBuf>,
    pub(crate) trace_id: u64,
    pub(crate) end: SessionEnd,
    pub(crate) cpus: Vec<GuestCpu>,
    /// The host's threads that run them.
    pub(crate) threads: VcpuThreads,
    /// Where data is, by instance and CPU.
    pub(crate) placements: Vec<Placement>,
    /// Events that its kernel lost, as far as it told.
    pub(crate) lost_events: u64,
    pub(crate) exec: Exec,
    pub(crate) started: Started,
    pub(crate) samples: Vec<Sample>,
    /// By how much its corrected time may be wrong; `None` where the clocks were not compared.
    pub(crate) clock_error: Option<u64>,
    /// How often an agent of the C version told its clock, which states no bound.
    pub(crate) vcpu_samples: usize,
    /// What it told this machine, its guest, for its own file; `None` of a guest.
    own_options: Option<Vec<(OptionId, Vec<u8>)>>,
    /// What the samples count: `ns`, or cycles.
    pub(crate) unit: &'static str,
    /// How often and how long its command waited for this side.
    pub(crate) held: Option<(u32, Duration)>,
    pub(crate) problems: Vec<String>,
    /// Whether not all that came could be written.
    pub(crate) has_failed: bool,
}

/// What became of the data of one of its CPUs.
#[derive(Debug)]
pub(crate) struct GuestCpu {
    pub(crate) cpu: u32,
    /// Bytes that came and are not in the file.
    pub(crate) discarded: u64,
    /// Bytes that the guest sent and that never came; not known of a guest that did not tell its end.
    pub(crate) missing: Option<u64>,
}

impl RunningGuest {
    /// Gives its file the name: what arrived is worth being found.
    pub(crate) fn publish(&self) -> Result<(), Error> {
        self.sink.publish()
    }
}

impl<S: GuestSink> RunningGuest<S> {
    /// Where its data goes.
    pub(crate) fn sink(&mut self) -> &mut S {
        &mut self.sink
    }

    /// How often its clock was compared so far.
    pub(crate) fn comparisons(&self) -> u64 {
        self.session.comparisons()
    }

    /// What its clock has to do with the host's by the last comparisons; `None` without any.
    pub(crate) fn clock(&self, host_trace_id: u64) -> Option<GuestClock> {
        let samples = self.session.recent_samples();
        GuestClock::new(&samples, self.counters.as_ref(), host_trace_id, self.session.cpus)
    }

    /// Runs the command of the plan in the guest.
    pub(crate) fn exec(&mut self) {
        if self.has_command {
            self.session.exec();
            self.exec = Exec::Running;
        }
    }

    /// Takes note of what happened since the last look.
    pub(crate) fn take_news(&mut self) {
        while let Ok(event) = self.session.events().try_recv() {
            self.note(event);
        }
    }

    /// Waits until its command has ended, or it is gone.
    pub(crate) fn wait(&mut self) {
        while self.is_running() && self.is_there {
            match self.session.events().recv() {
                Ok(event) => self.note(event),
                Err(_) => self.is_there = false,
            }
        }
    }

    /// Whether it still can send.
    pub(crate) fn is_there(&self) -> bool {
        self.is_there
    }

    /// Whether its command is still to end.
    pub(crate) fn is_running(&self) -> bool {
        self.exec == Exec::Running
    }

    /// Output of the command goes to ours.
    fn note(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Output { stream, bytes } => {
                if let Some(said) = &mut self.said {
                    said.pass_on(stream, &bytes);
                }
            }
            SessionEvent::Exited(status) => self.exec = Exec::Ended(status),
            _ => {
                tell(&format!("guest {} is gone; what it sent is {}", self.name, S::KEPT));
                self.is_there = false;
                if self.is_running() {
                    self.exec = Exec::Lost;
                }
            }
        }
    }

    /// Ends the recording in the guest and completes its file.
    pub(crate) fn finish(mut self, host: &HostFile) -> Result<FinishedGuest, LostGuest> {
        self.take_news();
        let Self {
            name, session, proxy, sink, threads, counters, counts_ticks, exec, started, ..
        } = self;
        let lost = |error| LostGuest { name: name.clone(), error };
        let (count, guest_time) = (session.cpus, session.started.guest_time);
        let end = session.close().map_err(|error| lost(guest_error(error)))?;
        let clock = GuestClock::new(&end.samples, counters.as_ref(), host.trace_id, count);
        let tracing_on = clock.as_ref().zip(guest_time).map(|(clock, time)| clock.to_host(time));
        let started = Started { tracing_on, ..started };
        let order = sink.byte_order();
        let told =
            guest_clock::of_vcpus(&end.vcpu_samples, host.trace_id).filter(|_| clock.is_none());
        let options = clock.iter().flat_map(|GuestClock { shift, error }| {
            [write::option::time_shift(shift, order), write::option::time_error(error, order)]
        });
        let options =
            options.chain(told.iter().map(|shift| write::option::time_shift(shift, order)));
        // Once they are ticks of the host, the host's factor makes nanoseconds of them.
        let factor = host.tsc_to_nsec.filter(|_| counts_ticks);
        let options =
            options.chain(factor.iter().map(|factor| write::option::tsc_to_nsec(factor, order)));
        let (path, trace_id) = (sink.path().map(Path::to_owned), sink.trace_id());
        let mut problems: Vec<_> = end.problems.iter().map(in_one_line).collect();
        let mut tail = end.tail;
        let own = proxy.map(|head| {
            let came = end.proxied.unwrap_or_default();
            // Why there is nothing is known, when it went away.
            let is_whole = end.end == SessionEnd::Complete || !came.sections.is_empty();
            match head.whole(&came.sections) {
                Ok(whole) => tail = whole,
                Err(reason) => problems.extend(is_whole.then_some(reason)),
            }
            let own = head.own_options(&came.options, possible_cpus());
            own.unwrap_or_else(|reason| {
                problems.push(reason);
                OwnOptions::default()
            })
        });
        let closed = sink.close(&tail, options.collect(), &end.cpus).map_err(lost)?;
        let Closed { placements, lost_events, discarded, problem } = closed;
        let is_of_file = |problem: &HostError| matches!(problem, HostError::Data { .. });
        let has_failed = problem.is_some() || end.problems.iter().any(is_of_file);
        problems.extend(problem.map(|error| error.to_string()));
        let is_known = end.end == SessionEnd::Complete;
        let cpu = |((cpu, discarded), came): ((u32, u64), &CpuReport)| GuestCpu {
            cpu,
            discarded,
            missing: is_known.then_some(came.missing),
        };
        let cpus = (0..count).zip(discarded).zip(&end.cpus).map(cpu).collect();
        Ok(FinishedGuest {
            path,
            trace_id,
            end: end.end,
            cpus,
            threads,
            placements,
            lost_events,
            // What came with the end is not among the news.
            exec: match end.exec {
                Some(status) if exec != Exec::None => Exec::Ended(status),
                _ => exec,
            },
            started,
            samples: end.samples,
            clock_error: clock.as_ref().map(GuestClock::worst),
            vcpu_samples: match &own {
                Some(own) => own.samples,
                None => end.vcpu_samples.iter().map(Vec::len).sum(),
            },
            own_options: own.map(|own| own.options),
            unit: if counts_ticks { "cycles" } else { "ns" },
            held: end.held,
            problems,
            has_failed,
            name,
        })
    }
}

impl FinishedGuest {
    /// Whether anything that was to be recorded is missing, or may be.
    pub(crate) fn has_losses(&self) -> bool {
        let is_whole = |cpu: &GuestCpu| cpu.discarded == 0 && cpu.missing == Some(0);
        self.lost_events > 0 || !self.cpus.iter().all(is_whole)
    }

    /// Bytes that came and are not in the file.
    pub(crate) fn discarded_bytes(&self) -> u64 {
        self.cpus.iter().map(|cpu| cpu.discarded).fold(0, u64::saturating_add)
    }

    /// Bytes that the guest sent and that never came, where that is known.
    pub(crate) fn missing_bytes(&self) -> Option<u64> {
        self.cpus.iter().try_fold(0, |sum: u64, cpu| Some(sum.saturating_add(cpu.missing?)))
    }

    /// What the file of this machine says of it.
    pub(crate) fn options(&self) -> Vec<(OptionId, Vec<u8>)> {
        self.own_options.clone().unwrap_or_else(|| vec![self.option()])
    }

    fn option(&self) -> (OptionId, Vec<u8>) {
        let thread = |cpu| self.threads.get(cpu).unwrap_or(-1);
        let cpus = self.cpus.iter().map(|one| VirtualCpu { cpu: one.cpu, pid: thread(one.cpu) });
        let cpus = cpus.collect();
        let guest =
            tracedat::metadata::Guest { name: self.name.clone(), trace_id: self.trace_id, cpus };
        write::option::guest(&guest, Abi::NATIVE.byte_order)
    }
}

/// The result of a thread; a panic in it goes on in this one.
pub(crate) fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A problem and what the system said.
fn in_one_line(problem: &HostError) -> String {
    match std::error::Error::source(problem) {
        Some(cause) => format!("{problem}: {cause}"),
        None => problem.to_string(),
    }
}

pub(super) fn guest_error(error: HostError) -> Error {
    let near = match &error {
        HostError::NoDirectory { guest, path } => {
            path.parent().and_then(|dir| did_you_mean_guest(&VirtDir::new(dir), guest))
        }
        _ => None,
    };
    let failed = Error::new(Exit::Guest, "").because(error);
    match near {
        Some(near) => failed.hint(near),
        None => failed,
    }
}
