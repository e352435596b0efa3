//! The guests of a recording, as the host sees them.

use std::path::{Path, PathBuf};
use std::thread::ScopedJoinHandle;

use trace_virt::host::{
    AgentGuest, ExecStatus, Finished, Guest, GuestSession, HostError, SessionEvent, Sink,
    StartRequest,
};
use trace_virt::setup::{GuestName, VirtDir};
use trace_virt::time_sync::Sample;
use tracedat::Abi;
use tracedat::clock::{ClockSample, TimeShift};
use tracedat::layout::OptionId;
use tracedat::metadata::VirtualCpu;
use tracedat::write::{self, Placement};

use super::agents;
use super::args::AgentArgs;
use super::file::GuestFile;
use super::marker_clock::mark_clock;
use super::output::Output;
use super::plan::GuestPlan;
use super::spool::Spool;
use crate::error::Error;
use crate::exit_code::Exit;

/// Reaches a guest through the running server, or its agent.
pub(crate) fn connect(dir: &VirtDir, plan: &GuestPlan, args: &AgentArgs) -> Result<Reached, Error> {
    if let Some(address) = &plan.agent {
        let agent = agents::connect(dir, &plan.name, address, args)?;
        return Ok(Reached::Agent(agent));
    }
    let name = GuestName::new(&plan.name)
        .map_err(|error| Error::usage(format!("--dom {}", plan.name)).because(error))?;
    Guest::connect(dir, &name).map(Reached::Server).map_err(guest_error)
}

/// A guest that answers.
pub(crate) enum Reached {
    /// By way of the running server.
    Server(Guest),
    /// Its agent.
    Agent(AgentGuest),
}

impl Reached {
    fn start(self, request: &StartRequest) -> Result<GuestSession, HostError> {
        match self {
            Self::Server(guest) => guest.start(request),
            Self::Agent(guest) => {
                let clock = request.host_clock.as_deref();
                guest.start(request, clock.and_then(|clock| mark_clock(clock).ok()))
            }
        }
    }
}

/// A guest that records.
pub(crate) struct RunningGuest {
    name: String,
    session: GuestSession,
    output: Output,
    spools: Vec<Spool>,
    unit: &'static str,
    has_command: bool,
    exec: Exec,
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
pub(crate) struct FinishedGuest {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) trace_id: u64,
    pub(crate) cpus: u32,
    pub(crate) placements: Vec<Placement>,
    pub(crate) exec: Exec,
    pub(crate) missing_bytes: u64,
    pub(crate) samples: Vec<Sample>,
    /// How often an agent of the C version told its clock.
    pub(crate) vcpu_samples: usize,
    /// What the samples count: `ns`, or cycles.
    pub(crate) unit: &'static str,
    pub(crate) problems: Vec<HostError>,
}

impl RunningGuest {
    /// Starts the recording in the guest and the flow of its data, by way of files at `spools_at`.
    pub(crate) fn start(
        guest: Reached,
        plan: &GuestPlan,
        path: &Path,
        spools_at: &Path,
        trace_id: u64,
    ) -> Result<Self, Error> {
        let output = Output::open(path)?;
        let request = StartRequest {
            args: plan.arguments.clone(),
            exec: plan.exec.clone(),
            trace_id,
            host_clock: plan.clock.clone(),
            guest_clock: plan.clock.clone(),
            ..StartRequest::default()
        };
        let mut session = guest.start(&request).map_err(guest_error)?;
        let mut spools = Vec::new();
        let mut sinks = Vec::new();
        for cpu in 0..session.cpus {
            let spool = Spool::create(spools_at, cpu)?;
            sinks.push(Sink { to: spool.sink()?, offset: Some(0) });
            spools.push(spool);
        }
        session.collect(sinks, None).map_err(guest_error)?;
        Ok(Self {
            name: plan.title().to_owned(),
            session,
            output,
            spools,
            unit: if plan.clock.as_deref() == Some("x86-tsc") { "cycles" } else { "ns" },
            has_command: plan.exec.is_some(),
            exec: Exec::None,
        })
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

    /// Whether its command is still to end.
    pub(crate) fn is_running(&self) -> bool {
        self.exec == Exec::Running
    }

    /// Whether it had a command to run.
    pub(crate) fn has_command(&self) -> bool {
        self.has_command
    }

    /// Output of the command goes to ours.
    fn note(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Output { stream: 2, bytes } => {
                super::summary::pass_on(&mut std::io::stderr(), &bytes);
            }
            SessionEvent::Output { bytes, .. } => {
                super::summary::pass_on(&mut std::io::stdout(), &bytes);
            }
            SessionEvent::Exited(status) => self.exec = Exec::Ended(status),
            _ => {
                if self.is_running() {
                    self.exec = Exec::Lost;
                }
            }
        }
    }

    /// Ends the recording in the guest and writes its file.
    pub(crate) fn finish(mut self, host_trace_id: u64) -> Result<FinishedGuest, Error> {
        let head = std::mem::take(&mut self.session.head);
        let (cpus, sub_buffer_size) = (self.session.cpus, self.session.sub_buffer_size);
        self.take_news();
        let end = match self.session.close() {
            Ok(end) => end,
            Err(error) => return Err(self.output.lost(self.spools, guest_error(error))),
        };
        let file = GuestFile { guest: &self.name, head: &head, tail: &end.tail, sub_buffer_size };
        let shift = time_shift(&end, host_trace_id, cpus);
        let (trace_id, placements) = match file.write(&self.output, &self.spools, shift.as_ref()) {
            Ok(written) => written,
            Err(error) => return Err(self.output.lost(self.spools, error)),
        };
        Ok(FinishedGuest {
            name: self.name,
            path: self.output.path().to_owned(),
            trace_id,
            cpus,
            placements,
            exec: self.exec,
            missing_bytes: end.cpus.iter().map(|cpu| cpu.missing + cpu.discarded).sum(),
            vcpu_samples: end.vcpu_samples.iter().map(Vec::len).sum(),
            samples: end.samples,
            unit: self.unit,
            problems: end.problems,
        })
    }
}

impl FinishedGuest {
    /// What the host's file says of this guest.
    pub(crate) fn option(&self) -> (OptionId, Vec<u8>) {
        // Which host thread runs which vCPU is not known here.
        let cpus = (0..self.cpus).map(|cpu| VirtualCpu { cpu, pid: -1 }).collect();
        let guest =
            tracedat::metadata::Guest { name: self.name.clone(), trace_id: self.trace_id, cpus };
        write::option::guest(&guest, Abi::NATIVE.byte_order)
    }
}

/// All vCPUs read one clock, so each gets the same samples where no agent told them apart; readers interpolate between
/// them.
fn time_shift(end: &Finished, host_trace_id: u64, cpus: u32) -> Option<TimeShift> {
    let sample = |time, offset| ClockSample { time, offset, scaling: 1, fraction_bits: 0 };
    let cpus = if end.samples.is_empty() {
        let of_vcpu = |samples: &Vec<trace_virt::time_sync::ClockSample>| {
            samples.iter().map(|one| sample(one.time, one.offset)).collect()
        };
        end.vcpu_samples.iter().map(of_vcpu).collect()
    } else {
        let samples = end.samples.iter().map(|one| sample(one.guest_time, one.offset)).collect();
        vec![samples; cpus as usize]
    };
    let is_empty = cpus.iter().all(Vec::is_empty);
    (!is_empty).then_some(TimeShift { peer: host_trace_id, interpolate: true, cpus })
}

/// The result of a thread; a panic in it goes on in this one.
pub(crate) fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

pub(super) fn guest_error(error: HostError) -> Error {
    Error::new(Exit::Guest, "").because(error)
}
