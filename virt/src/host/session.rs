//! A recording in a guest: its data, what happens meanwhile, and what is known at its end.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::agent::{EndingSync, Sync};
use super::collect::{Collector, CpuReport, Sink, Target, Totals};
use super::control::{Control, Proxied};
use super::error::{HostError, Step};
use super::guest::GuestInfo;
use super::recent::RecentRounds;
use crate::agent::SyncPort;
use crate::time_sync::{ClockSample, Sample};

/// How long data may be on its way after the guest said how much it is.
const DRAIN_TIME: Duration = Duration::from_secs(20);
/// How long what is on its way is taken from a guest that is gone.
const LAST_DATA: Duration = Duration::from_millis(500);

/// Something that happened in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// The guest's command wrote to its standard output (1) or standard error (2).
    Output {
        /// 1 or 2.
        stream: u32,
        /// What it wrote: anything, so not for a terminal as it is.
        bytes: Vec<u8>,
    },
    /// The guest's command ended.
    Exited(ExecStatus),
    /// The guest or the server went away; [`GuestSession::close`] gives what was saved.
    Gone,
}

/// How a command in the guest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecStatus {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// A recording that runs in a guest. Dropped without [`close`](Self::close), it is aborted.
#[derive(Debug)]
pub struct GuestSession {
    /// What the file needs before the CPU data.
    pub head: Vec<u8>,
    /// CPUs that send data.
    pub cpus: u32,
    /// Bytes per sub-buffer.
    pub sub_buffer_size: u32,
    /// Names the trace: the answer of an agent tells it, others answer with that of the request.
    pub trace_id: u64,
    /// How it came to record.
    pub started: Started,
    /// What the guest said about itself.
    pub info: GuestInfo,
    pub(super) guest: String,
    pub(super) control: Control,
    pub(super) collectors: Vec<Collector>,
    pub(super) totals: Arc<Totals>,
    pub(super) collecting: bool,
    pub(super) problems: Vec<HostError>,
    pub(super) recent: RecentRounds,
    /// The time sync connection of an agent.
    pub(super) sync: Option<SessionSync>,
}

/// Who drives the rounds on the time sync connection of an agent.
#[derive(Debug)]
pub(super) enum SessionSync {
    /// This machine, which is the host.
    Driven(Sync),
    /// The agent's, which is the host of this one.
    Answered(SyncPort),
}

/// When a guest began to record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Started {
    /// When it was asked to.
    pub asked_at: Instant,
    /// When its word came that it was ready.
    pub ready_at: Instant,
    /// When it was told to begin; `None` where it began by itself once it was ready.
    pub told_at: Option<Instant>,
    /// What its clock said when tracing was on, in units of the trace clock, if it told.
    pub guest_time: Option<u64>,
}

/// Who ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEnd {
    /// The host, and the guest said how much it sent.
    Complete,
    /// The guest, its client or the server went away: what they still had is lost, and nobody knows how much that is.
    Gone,
    /// The guest did not answer any more, as one that is paused: what it has may be lost.
    Silent,
}

/// What a session brought.
#[derive(Debug)]
#[non_exhaustive]
pub struct Finished {
    /// How it ended.
    pub end: SessionEnd,
    /// Per CPU.
    pub cpus: Vec<CpuReport>,
    /// What the guest's recorder added at the end.
    pub tail: Vec<u8>,
    /// Guest clock to host clock, to be interpolated; empty when they were not compared.
    pub samples: Vec<Sample>,
    /// The same for each vCPU, as an agent told it, without a bound.
    pub vcpu_samples: Vec<Vec<ClockSample>>,
    /// What a host brought that was recorded for this machine, its guest.
    pub proxied: Option<Proxied>,
    /// How the guest's command ended, if that was told.
    pub exec: Option<ExecStatus>,
    /// How often and how long the guest's command waited for this side to take data; `None` where it was not to wait.
    pub held: Option<(u32, Duration)>,
    /// What went wrong on the way and left the rest of use.
    pub problems: Vec<HostError>,
}

impl GuestSession {
    /// Lets each CPU's data flow to `sinks[cpu]`, at most `quota` bytes of all CPUs together; what is beyond is counted
    /// and thrown away. Until then it waits in the FIFOs and in the guest.
    ///
    /// # Errors
    ///
    /// [`HostError::Unexpected`] when there is not one sink per CPU.
    pub fn collect(&mut self, sinks: Vec<Sink>, quota: Option<u64>) -> Result<(), HostError> {
        self.collect_to(sinks.into_iter().map(Target::Descriptor).collect(), quota)
    }

    /// The same with `writers[cpu]`, each of which is written to by a thread of its own and dropped at the end.
    ///
    /// # Errors
    ///
    /// As [`collect`](Self::collect).
    pub fn collect_into(
        &mut self,
        writers: Vec<Box<dyn Write + Send>>,
        quota: Option<u64>,
    ) -> Result<(), HostError> {
        self.collect_to(writers.into_iter().map(Target::Writer).collect(), quota)
    }

    fn collect_to(&mut self, targets: Vec<Target>, quota: Option<u64>) -> Result<(), HostError> {
        if targets.len() != self.collectors.len() {
            let message =
                format!("number of sinks: {} for {} CPUs", targets.len(), self.collectors.len());
            return Err(HostError::Unexpected {
                guest: self.guest.clone(),
                step: Step::Data,
                message,
            });
        }
        self.totals.quota.store(quota.unwrap_or(u64::MAX), Ordering::Relaxed);
        for (collector, target) in self.collectors.iter().zip(targets) {
            collector.set_target(target);
        }
        self.collecting = true;
        Ok(())
    }

    /// Tells the guest to run the command of the request; its output and end come as [`events`](Self::events).
    pub fn exec(&mut self) {
        self.control.exec();
    }

    /// What happens, to be waited for together with other guests'.
    #[must_use]
    pub fn events(&self) -> &Receiver<SessionEvent> {
        self.control.events()
    }

    /// Bytes kept so far, of all CPUs.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.totals.kept.load(Ordering::Relaxed)
    }

    /// The guest's name.
    #[must_use]
    pub fn guest(&self) -> &str {
        &self.guest
    }

    /// How often the clocks were compared so far.
    #[must_use]
    pub fn comparisons(&self) -> u64 {
        self.recent.count()
    }

    /// What the last comparisons of the clocks say, for times since then; as [`Finished::samples`]. Empty where they are
    /// not compared, or only by the protocol of the C trace-cmd, of which the end of the session tells.
    #[must_use]
    pub fn recent_samples(&self) -> Vec<Sample> {
        self.recent.samples()
    }

    /// Compares the clocks a last time, stops the guest, and takes the rest of its data.
    ///
    /// # Errors
    ///
    /// None today that would make what was saved useless: see [`Finished::problems`].
    pub fn close(mut self) -> Result<Finished, HostError> {
        if !self.collecting {
            // Nobody wants the data, but the guest must get rid of it.
            let sinks =
                self.collectors.iter().map(|_| File::options().write(true).open("/dev/null"));
            let sinks: io::Result<Vec<_>> =
                sinks.map(|file| Ok(Sink { to: file?.into(), offset: None })).collect();
            let failed =
                |source| HostError::Io { guest: self.guest.clone(), step: Step::Close, source };
            let sinks = sinks.map_err(failed)?;
            self.collect(sinks, Some(0))?;
        }
        // The last round goes on beside the end of the recording.
        let (driven, answered) = match self.sync {
            Some(SessionSync::Driven(sync)) => (Some(sync.end()), None),
            Some(SessionSync::Answered(port)) => (None, Some(port)),
            None => (None, None),
        };
        let closed = self.control.close();
        let mut problems = self.problems;
        problems.extend(closed.problems);

        for (collector, end) in self.collectors.iter().zip(&closed.ends) {
            match end {
                Some(bytes) => collector.end_at(*bytes, DRAIN_TIME),
                None => collector.end_when_quiet(LAST_DATA),
            }
        }
        let mut cpus = Vec::with_capacity(self.collectors.len());
        for (cpu, collector) in (0..).zip(self.collectors) {
            let guest = || self.guest.clone();
            let (report, error) = collector.finish();
            if let Some(source) = error {
                problems.push(HostError::Data { guest: guest(), cpu, source });
            }
            if report.missing > 0 {
                problems.push(HostError::Missing { guest: guest(), cpu, missing: report.missing });
            }
            if report.excess > 0 {
                problems.push(HostError::Excess { guest: guest(), cpu, excess: report.excess });
            }
            cpus.push(report);
        }
        let (vcpu_samples, problem) = driven.map(EndingSync::finish).unwrap_or_default();
        problems.extend(problem);
        if let Some(Err(reason)) = answered.map(SyncPort::finish) {
            problems.push(HostError::TimeSync { guest: self.guest.clone(), reason });
        }
        let (end, tail, samples, exec) = (closed.end, closed.tail, closed.samples, closed.exec);
        let (held, proxied) = (closed.held, closed.proxied);
        Ok(Finished { end, cpus, tail, samples, vcpu_samples, proxied, exec, held, problems })
    }
}
