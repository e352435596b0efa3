//! All that records at the same time, this machine or not: begins together, is waited for in one place, ends together.

use std::thread;
use std::time::Duration;

use super::args::Args;
use super::destination::Destination;
use super::guests::file::place_beside;
use super::guests::{FinishedGuest, Guests, HostFile, LostGuest, Reached, joined};
use super::local::{LocalRecording, Recorded};
use super::plan::{GuestPlan, Plan};
use super::status::{Progress, Status};
use super::summary;
use super::wait::{Event, Signals, Tasks};
use crate::command::workload::Workload;
use crate::error::Error;

/// How often guests are asked for news, and for texts without which events cannot be read; signals
/// come at once.
const SOON: Duration = Duration::from_millis(20);
/// How often it is looked whether anything can still be written.
const TICK: Duration = Duration::from_millis(500);

/// Everything that records at the same time.
pub(super) struct Session {
    /// `None` where only guests are recorded, and this machine stays as it is.
    pub(super) local: Option<Local>,
    pub(super) guests: Guests,
    pub(super) workload: Option<Workload>,
    pub(super) tasks: Tasks,
}

/// This machine's recording, and where it goes.
pub(super) struct Local {
    pub(super) recording: LocalRecording,
    pub(super) destination: Destination,
}

/// What is left of a session.
pub(super) struct Ended {
    pub(super) local: Option<(Destination, Result<Recorded, Error>)>,
    pub(super) guests: Vec<Result<FinishedGuest, LostGuest>>,
    pub(super) workload: Option<Workload>,
}

impl Session {
    /// Starts all guests side by side, then their commands, then that of this machine; then files get their names.
    ///
    /// # Errors
    /// Nothing is left to record, the command cannot be let go, or a file cannot have its name.
    pub(super) fn begin(
        &mut self,
        connected: Vec<Result<Reached, LostGuest>>,
        plan: &Plan,
        args: &Args,
        trace_id: u64,
    ) -> Result<(), Error> {
        let output = args.output_path();
        let place = |guest: &GuestPlan| place_beside(&output, guest);
        self.guests = Guests::start(connected, plan, &place, trace_id)?;
        self.guests.exec();
        self.workload.as_mut().map_or(Ok(()), Workload::release)?;
        if let Some(local) = &self.local {
            local.destination.publish()?;
        }
        self.guests.publish()
    }

    /// Runs the command of this machine, or waits for those of the guests, for the tasks that are
    /// traced, or for Ctrl-C.
    ///
    /// # Errors
    /// A listener has gone, or waiting itself fails.
    pub(super) fn run(&mut self, signals: &Signals, args: &Args, plan: &Plan) -> Result<(), Error> {
        let alone = self.workload.is_none();
        let ends_with_guests = alone && plan.guests.iter().any(|guest| guest.exec.is_some());
        let only_guests = alone && !plan.guests.is_empty() && !plan.host.traces_something();
        let ends_with_tasks = alone && !self.tasks.have_ended();
        if alone && !ends_with_guests && !ends_with_tasks && !args.quiet && !args.json {
            summary::how_to_stop();
        }
        let mut status = if args.quiet || args.json { None } else { Status::on_terminal() };
        // All streams go to the same listener: one that it takes no more is the end of all.
        let is_sent = args.remote.is_some();
        loop {
            let reads = self.local.as_ref().is_some_and(|local| local.recording.reads_texts());
            let tick = if !self.guests.is_empty() || reads { SOON } else { TICK };
            let listener = self.local.as_ref().and_then(|local| local.destination.listener());
            match signals.wait_with(&self.tasks, listener, Some(tick))? {
                Event::Interrupted => return Ok(()),
                Event::Child | Event::News | Event::Timeout => {}
            }
            self.guests.take_news();
            if let Some(local) = &mut self.local {
                local.go_on()?;
                if let Some(status) = &mut status {
                    let guests = self.guests.len();
                    status.update(|| Progress { guests, ..local.recording.progress() });
                }
            }
            if self.workload.as_mut().is_some_and(Workload::has_ended) {
                return Ok(());
            }
            if ends_with_guests && !self.guests.have_commands() {
                return Ok(());
            }
            if only_guests && !self.guests.are_there() {
                return Ok(());
            }
            if self.tasks.have_ended() && ends_with_tasks {
                return Ok(());
            }
            // What happened is told at the end, when the file is complete.
            if self.local.as_ref().is_some_and(|local| local.is_over(is_sent)) {
                return Ok(());
            }
        }
    }

    /// Puts everything back and keeps nothing.
    pub(super) fn abort(self) {
        if let Some(Local { recording, destination }) = self.local {
            recording.abort();
            destination.abort();
        }
    }

    /// Ends host and guests side by side; each is asked for what it has, whatever became of the others.
    pub(super) fn end(self, file: &HostFile) -> Ended {
        let Self { local, guests, workload, .. } = self;
        let (local, guests) = thread::scope(move |scope| {
            let guests = scope.spawn(move || guests.finish(file));
            let local =
                local.map(|Local { recording, destination }| (destination, recording.stop()));
            (local, joined(guests))
        });
        Ended { local, guests, workload }
    }
}

impl Local {
    /// Does what is to be done now and then.
    fn go_on(&mut self) -> Result<(), Error> {
        self.destination.take_news()?;
        if let Some(texts) = self.recording.texts() {
            self.destination.describe(&texts)?;
        }
        self.recording.write_back();
        Ok(())
    }

    /// Whether going on is useless.
    fn is_over(&self, is_sent: bool) -> bool {
        self.recording.has_failed() || (is_sent && self.recording.has_failure())
    }
}
