//! Carries a plan out: this machine and its guests start together, end together, and each gets its file.

use std::path::Path;
use std::thread;
use std::time::Duration;

use trace_virt::setup::VirtDir;
use tracedat::write::Version;
use tracefs::TracingDir;

use super::args::Args;
use super::destination::{Closed, Destination};
use super::extras;
use super::file::{Extra, Format};
use super::guests::{
    self, Conclusion, FinishedGuest, LostGuest, Reached, RunningGuest, joined, with_something_left,
};
use super::local::{LocalRecording, Recorded, Settings, SinkRequest};
use super::output::Output;
use super::plan::Plan;
use super::status::{Progress, Status};
use super::summary;
use super::wait::{Event, Signals, Tasks};
use crate::command::workload::{Workload, maps_of};
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output::tell;

/// How often guests are asked for news, and for texts without which events cannot be read; signals
/// come at once.
const SOON: Duration = Duration::from_millis(20);
/// How often it is looked whether anything can still be written.
const TICK: Duration = Duration::from_millis(500);

/// Records what the plan says; `has_begun` is told when all that can be wrong with it is known.
pub(crate) fn record(args: &Args, plan: &Plan, has_begun: &dyn Fn()) -> Result<Exit, Error> {
    let signals = Signals::take()?;
    let format = Format::new(args)?;
    let output_path = args.output_path();
    let output = if args.remote.is_some() { None } else { Some(Output::open(&output_path)?) };
    let trace_id = super::new_trace_id();

    let virt_dir = VirtDir::locate(args.virt_dir.as_deref().map(Path::new));
    // Guests are reached before anything is changed here: most that can go wrong goes wrong there.
    let connected = guests::connect(&virt_dir, &plan.guests, &args.agents)?;
    let connected = with_something_left(connected, plan)?;

    let options = extras::before(args, plan)?;
    Workload::check(&args.command)?;
    let priority = args.recorder.priority()?;
    let pids = plan.host.pids();
    let tasks = Tasks::open(&pids)?;
    let maps: Vec<_> =
        if args.proc_map { pids.iter().filter_map(|&pid| maps_of(pid)).collect() } else { vec![] };
    let mut workload = Workload::hold(&args.command, args.setup.user.as_deref())?;
    if let Some(workload) = workload.as_mut().filter(|_| args.proc_map) {
        workload.watch_maps();
    }

    let mut output = output;
    let mut destination = None;
    let mut sinks = |dir: &TracingDir, requests: &[SinkRequest]| {
        let output = output.take();
        let created = Destination::create(args, output, format, trace_id, dir, requests, priority)?;
        destination = Some(created.0);
        Ok(created.1)
    };
    let command = workload.as_ref().map(Workload::pid);
    // Version 6 has texts in another form, and so have heads that are sent.
    let is_packed = format.version == Version::V7 && args.remote.is_none();
    let codec = is_packed.then_some(format.codec);
    let settings = Settings { command, codec, ..Settings::from(args) };
    let local = LocalRecording::start(&plan.host, &settings, &mut sinks);
    let (local, destination) = match (local, destination) {
        (Ok(local), Some(destination)) => (local, destination),
        (Err(error), destination) => {
            if let Some(destination) = destination {
                destination.abort();
            }
            return Err(error);
        }
        (Ok(_), None) => return Err(Error::failure("nothing is recorded here")),
    };
    let mut session =
        Session { local, destination, guests: Vec::new(), lost: Vec::new(), workload, tasks };
    let mut extra = Extra { trace_id, options, ..Extra::default() };
    let introduced = session.destination.introduce(&mut session.local, &extra);
    let begun = introduced.and_then(|()| session.begin(connected, plan, args, trace_id));
    if let Err(error) = begun.and_then(|()| session.publish()) {
        session.abort();
        return Err(error);
    }
    has_begun();
    if !args.quiet && !args.json {
        summary::tracers(&plan.host);
    }
    let outcome = session.run(&signals, args, plan).map(|()| Exit::Success);
    let Ended { destination, recorded, guests, workload } = session.end(trace_id);

    extra.options.extend(extras::maps(&maps, workload.as_ref()));
    extra.options.extend(guests.iter().flatten().map(FinishedGuest::option));
    let path = destination.path();
    let readable = destination.readable();
    let kept = |error: Error| match &readable {
        Some(path) => {
            let path = path.display();
            error.hint(format!("what was recorded can be read: trace-cmd report {path}"))
        }
        None => error,
    };
    let Recorded { machine, mut buffers, restoring } = recorded.map_err(kept)?;
    let closed = destination.close(&machine, &mut buffers, &extra).map_err(kept);
    let Closed { placements, delivery, problem, overwritten } = match closed {
        Ok(closed) => closed,
        Err(error) => {
            summary::losses(&buffers);
            return Err(error);
        }
    };
    if args.json {
        let delivery = delivery.as_ref();
        summary::print_json(&path, &buffers, &placements, overwritten, &guests, delivery)?;
    } else if let Some(delivery) = delivery.as_ref().filter(|_| !args.quiet) {
        delivery.print()?;
    } else if !args.quiet {
        summary::placements(&placements, format.is_compressed())?;
    }
    summary::losses(&buffers);
    let mut lost = summary::has_losses(&buffers);
    if let Some(delivery) = &delivery {
        delivery.tell_losses();
        lost |= delivery.has_losses();
    }
    // A listener that is gone is told as it was seen first: all else follows from it.
    let known = delivery.is_some() && outcome.is_err();
    let problem = problem.or_else(|| summary::failure(&path, &buffers)).filter(|_| !known);
    let mut outcome = problem.map_or(outcome, |error| Err(kept(error)));
    let Conclusion { exit, has_losses } = guests::conclude(&guests, args.quiet || args.json)?;
    lost |= has_losses;
    outcome = outcome.map(|_| exit);
    if lost && args.fail_on_loss {
        outcome = outcome.map(|exit| if exit == Exit::Success { Exit::Lost } else { exit });
    }
    // The file is whole; that tracing is not as it was comes last, where it is seen.
    restoring.finish().map_or(outcome, Err)
}

/// Everything that records at the same time.
struct Session {
    local: LocalRecording,
    destination: Destination,
    guests: Vec<RunningGuest>,
    /// Those that could not be started.
    lost: Vec<LostGuest>,
    workload: Option<Workload>,
    tasks: Tasks,
}

/// What is left of a session.
struct Ended {
    destination: Destination,
    recorded: Result<Recorded, Error>,
    guests: Vec<Result<FinishedGuest, LostGuest>>,
    workload: Option<Workload>,
}

impl Session {
    /// Starts all guests side by side, then their commands, then that of this machine.
    fn begin(
        &mut self,
        connected: Vec<Result<Reached, LostGuest>>,
        plan: &Plan,
        args: &Args,
        trace_id: u64,
    ) -> Result<(), Error> {
        let started = guests::start(connected, &plan.guests, &args.output_path(), trace_id);
        for guest in with_something_left(started, plan)? {
            match guest {
                Ok(guest) => self.guests.push(guest),
                Err(guest) => {
                    tell(&guest.error.to_string());
                    self.lost.push(guest);
                }
            }
        }
        for guest in &mut self.guests {
            guest.exec();
        }
        self.workload.as_mut().map_or(Ok(()), Workload::release)
    }

    /// Gives the files their names.
    fn publish(&self) -> Result<(), Error> {
        self.destination.publish()?;
        self.guests.iter().try_for_each(RunningGuest::publish)
    }

    /// Runs the command of this machine, or waits for those of the guests, for the tasks that are
    /// traced, or for Ctrl-C.
    fn run(&mut self, signals: &Signals, args: &Args, plan: &Plan) -> Result<(), Error> {
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
            let is_awaited = !self.guests.is_empty() || self.local.reads_texts();
            let tick = if is_awaited { SOON } else { TICK };
            let listener = self.destination.listener();
            match signals.wait_with(&self.tasks, listener, Some(tick))? {
                Event::Interrupted => return Ok(()),
                Event::Child | Event::News | Event::Timeout => {}
            }
            self.destination.take_news()?;
            for guest in &mut self.guests {
                guest.take_news();
            }
            if let Some(texts) = self.local.texts() {
                self.destination.describe(&texts)?;
            }
            self.local.write_back();
            if let Some(status) = &mut status {
                let guests = self.guests.len();
                status.update(|| Progress { guests, ..self.local.progress() });
            }
            if self.workload.as_mut().is_some_and(Workload::has_ended) {
                return Ok(());
            }
            if ends_with_guests && !self.guests.iter().any(RunningGuest::is_running) {
                return Ok(());
            }
            if only_guests && !self.guests.iter().any(RunningGuest::is_there) {
                return Ok(());
            }
            if self.tasks.have_ended() && ends_with_tasks {
                return Ok(());
            }
            // What happened is told at the end, when the file is complete.
            if self.local.has_failed() || (is_sent && self.local.has_failure()) {
                return Ok(());
            }
        }
    }

    /// Puts everything back and keeps nothing.
    fn abort(self) {
        self.local.abort();
        self.destination.abort();
    }

    /// Ends host and guests side by side; each is asked for what it has, whatever became of the others.
    fn end(self, trace_id: u64) -> Ended {
        let Self { local, destination, guests, lost, workload, .. } = self;
        let (recorded, mut guests) = thread::scope(move |scope| {
            let guests = scope.spawn(move || guests::finish(guests, trace_id));
            (local.stop(), joined(guests))
        });
        guests.extend(lost.into_iter().map(Err));
        Ended { destination, recorded, guests, workload }
    }
}
