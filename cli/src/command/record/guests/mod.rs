//! The guests of a recording, as the host sees them.
//!
//! `reach` (who answers) → `ready` (who has set tracing up, and waits at the `gate`) → `running` (data flows into a `sink`,
//! mostly a `file`) → `finished` (what came, on the host's `clock`).

pub(crate) mod clock;
pub(crate) mod file;
mod finished;
mod gate;
pub(crate) mod output;
mod proxied;
mod reach;
mod ready;
mod running;
pub(crate) mod sink;
pub(crate) mod wished;

use std::thread::{self, ScopedJoinHandle};
use std::time::Instant;

use trace_virt::host::SessionEnd;
use tracedat::metadata::TscToNsec;

use self::file::GuestFile;
use self::gate::{Gate, Ticket};
use self::ready::ReadyGuest;
use self::sink::{GuestSink, MakePlace};
use super::plan::{GuestPlan, Plan};
use super::summary;
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output::tell;

pub(crate) use finished::{FinishedGuest, GuestCpu};
pub(crate) use reach::{Reached, connect, guest_error, have_exact_ticks};
pub(crate) use running::{Exec, RunningGuest};

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

/// The result of a thread; a panic in it goes on in this one.
pub(crate) fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
