//! A guest between its first answer and its first event.

use std::time::Instant;

use trace_virt::host::{AgentGuest, GuestSession, HostError, PreparedGuest, StartRequest};
use trace_virt::vcpu::VcpuThreads;

use super::clock::Counters;
use super::gate::Ticket;
use super::proxied::ProxyHead;
use super::reach::{Reached, guest_error};
use super::running::{Exec, RunningGuest, Started};
use super::sink::{GuestSink, MakePlace};
use crate::command::record::marker_clock::mark_clock;
use crate::command::record::plan::GuestPlan;
use crate::command::tracing_plan::COUNTER;
use crate::error::Error;
use crate::exit_code::Exit;

/// A guest that waits to be asked to record.
pub(super) struct ReadyGuest<S: GuestSink> {
    guest: Prepared,
    place: S::Place,
    /// That of its virtual machine.
    process: Option<i32>,
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
    pub(super) fn prepare(
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
        let process = guest.qemu();
        let guest = match guest {
            Reached::Server(guest) => {
                Prepared::Server(Box::new(guest.prepare(&request).map_err(guest_error)?))
            }
            Reached::Agent(guest) => Prepared::Agent(guest, request),
        };
        Ok(Self { guest, place, process })
    }

    /// Starts the recording in the guest and the flow of its data.
    pub(super) fn start(
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
        let cpus = session.cpus;
        let threads = self
            .process
            .map_or_else(VcpuThreads::default, |pid| VcpuThreads::of_process(pid, cpus));
        let counts_ticks = plan.clock.as_deref() == Some(COUNTER);
        let counters =
            self.process.filter(|_| counts_ticks).and_then(|pid| Counters::read(pid, cpus));
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
            threads,
            counters,
            counts_ticks,
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
