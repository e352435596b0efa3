//! A guest that records, up to its end.

use std::path::Path;

use trace_virt::agent::possible_cpus;
use trace_virt::host::{CpuReport, ExecStatus, GuestSession, HostError, SessionEnd, SessionEvent};
use trace_virt::vcpu::VcpuThreads;
use tracedat::write;

use super::clock::{self, Counters, GuestClock};
use super::file::{Closed, GuestFile};
use super::finished::{FinishedGuest, GuestCpu};
use super::output::GuestOutput;
use super::proxied::{OwnOptions, ProxyHead};
use super::reach::guest_error;
use super::sink::GuestSink;
use super::{HostFile, LostGuest};
use crate::error::Error;
use crate::output::tell;

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
    pub(super) name: String,
    pub(super) session: GuestSession,
    /// It is the host of this machine.
    pub(super) proxy: Option<ProxyHead>,
    pub(super) sink: S,
    pub(super) threads: VcpuThreads,
    /// What KVM says of their clocks, if that is what they record.
    pub(super) counters: Option<Counters>,
    /// Its stamps are of the processor's counter.
    pub(super) counts_ticks: bool,
    pub(super) has_command: bool,
    pub(super) exec: Exec,
    pub(super) started: Started,
    pub(super) is_there: bool,
    /// Where output of its command goes, if it is ours to show.
    pub(super) said: Option<GuestOutput>,
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
        let counters = counters.filter(|counters| counters.agree_with(&end.vcpu_samples));
        let clock = GuestClock::new(&end.samples, counters.as_ref(), host.trace_id, count);
        let tracing_on = clock.as_ref().zip(guest_time).map(|(clock, time)| clock.to_host(time));
        let started = Started { tracing_on, ..started };
        let order = sink.byte_order();
        let told = clock::of_vcpus(&end.vcpu_samples, host.trace_id).filter(|_| clock.is_none());
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

/// A problem and what the system said.
fn in_one_line(problem: &HostError) -> String {
    match std::error::Error::source(problem) {
        Some(cause) => format!("{problem}: {cause}"),
        None => problem.to_string(),
    }
}
