//! Carries a plan out: this machine and its guests start together, end together, and each gets its file.

use std::path::Path;
use std::thread;
use std::time::Duration;

use trace_virt::host::Guest;
use trace_virt::setup::VirtDir;
use tracedat::write;
use tracefs::TracingDir;

use super::args::Args;
use super::date;
use super::file::{Extra, Format};
use super::guests::{self, FinishedGuest, RunningGuest, joined};
use super::live::LiveFile;
use super::local::{LocalRecording, Recorded, Settings, SinkRequest};
use super::output::Output;
use super::plan::{GuestPlan, Plan, guest_output};
use super::summary;
use super::wait::{Event, Signals, Workload};
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output::tell;

/// How often guests are asked for news; signals come at once.
const TICK_WITH_GUESTS: Duration = Duration::from_millis(20);
/// How often it is looked whether anything can still be written.
const TICK: Duration = Duration::from_millis(500);

/// Records what the plan says.
pub(crate) fn record(args: &Args, plan: &Plan) -> Result<Exit, Error> {
    let signals = Signals::take()?;
    let format = Format::new(args)?;
    let output_path = args.output_path();
    let output = Output::open(&output_path)?;
    let trace_id = super::new_trace_id();

    let virt_dir = VirtDir::locate(args.virt_dir.as_deref().map(Path::new));
    // Guests are reached before anything is changed here: most that can go wrong goes wrong there.
    let mut connected = Vec::new();
    for guest in &plan.guests {
        connected.push(guests::connect(&virt_dir, guest)?);
    }

    let clock = plan.host.top.clock.as_deref();
    let date = args.date.then(|| date::microseconds_to_wall_time(clock)).transpose()?;

    Workload::check(&args.command)?;
    let settings = Settings::from(args);
    let priority = settings.priority;
    let mut output = Some(output);
    let mut live = None;
    let mut sinks = |dir: &TracingDir, requests: &[SinkRequest]| {
        let output = output.take().ok_or_else(|| Error::failure("sinks were made before"))?;
        let (file, sinks) = LiveFile::create(output, format, trace_id, dir, requests, priority)?;
        live = Some(file);
        Ok(sinks)
    };
    let local = LocalRecording::start(&plan.host, settings, &mut sinks);
    let (local, live) = match (local, live) {
        (Ok(local), Some(live)) => (local, live),
        (Err(error), live) => {
            if let Some(live) = live {
                live.abort();
            }
            return Err(error);
        }
        (Ok(_), None) => return Err(Error::failure("nothing is recorded here")),
    };
    let mut session = Session { local, live, guests: Vec::new(), workload: None };
    let begun = session.begin(connected, plan, args, trace_id);
    if let Err(error) = begun.and_then(|()| session.live.publish()) {
        session.abort();
        return Err(error);
    }
    let mut outcome = session.run(&signals, args).map(|()| Exit::Success);
    let (live, recorded, guests) = session.end(trace_id);

    let mut extra =
        Extra { trace_id, options: date.map(write::option::date).into_iter().collect() };
    for guest in &guests {
        match guest {
            Ok(guest) => extra.options.push(guest.option()),
            Err(error) => tell(&format!("{error}")),
        }
    }
    let path = live.path();
    let kept = |error: Error| {
        error.hint(format!("what was recorded can be read: trace-cmd report {}", path.display()))
    };
    let Recorded { machine, buffers, unrestored } = recorded.map_err(kept)?;
    let placements = live.close(&machine, &buffers, &extra).map_err(kept);
    let placements = match placements {
        Ok(placements) => placements,
        Err(error) => {
            summary::losses(&buffers);
            return Err(error);
        }
    };
    if !args.quiet {
        summary::placements(&placements, format.is_compressed())?;
    }
    summary::losses(&buffers);
    for guest in guests {
        match guest {
            Ok(guest) => summary::of_guest(&guest, args.quiet)?,
            Err(_) => outcome = outcome.map(|_| Exit::Guest),
        }
    }
    // The file is whole; that tracing is not as it was comes last, where it is seen.
    unrestored.map_or(outcome, Err)
}

/// Everything that records at the same time.
struct Session {
    local: LocalRecording,
    live: LiveFile,
    guests: Vec<RunningGuest>,
    workload: Option<Workload>,
}

impl Session {
    /// Starts all guests side by side, then their commands, then that of this machine.
    fn begin(
        &mut self,
        connected: Vec<Guest>,
        plan: &Plan,
        args: &Args,
        trace_id: u64,
    ) -> Result<(), Error> {
        let output = args.output_path();
        let started: Vec<Result<RunningGuest, Error>> = thread::scope(|scope| {
            let start = |(guest, plan): (Guest, &GuestPlan)| {
                RunningGuest::start(guest, plan, &guest_output(&output, &plan.name), trace_id)
            };
            let starting = connected.into_iter().zip(&plan.guests);
            let threads: Vec<_> = starting.map(|one| scope.spawn(move || start(one))).collect();
            threads.into_iter().map(joined).collect()
        });
        for guest in started {
            self.guests.push(guest?);
        }
        for guest in &mut self.guests {
            guest.exec();
        }
        self.workload = Workload::start(&args.command)?;
        Ok(())
    }

    /// Runs the command of this machine, or waits for those of the guests, or for Ctrl-C.
    fn run(&mut self, signals: &Signals, args: &Args) -> Result<(), Error> {
        let alone = self.workload.is_none();
        let ends_with_guests = alone && self.guests.iter().any(RunningGuest::has_command);
        if alone && !ends_with_guests && !args.quiet {
            summary::pass_on(&mut std::io::stdout(), b"Hit Ctrl^C to stop recording\n");
        }
        let tick = if self.guests.is_empty() { TICK } else { TICK_WITH_GUESTS };
        loop {
            match signals.wait(Some(tick))? {
                Event::Interrupted => return Ok(()),
                Event::Child | Event::Timeout => {}
            }
            for guest in &mut self.guests {
                guest.take_news();
            }
            if let Some(capture) = self.local.capture() {
                self.live.describe(&capture)?;
            }
            self.local.write_back();
            if self.workload.as_mut().is_some_and(Workload::has_ended) {
                return Ok(());
            }
            if ends_with_guests && !self.guests.iter().any(RunningGuest::is_running) {
                return Ok(());
            }
            if self.local.has_failed() {
                return Err(Error::failure("nothing more can be written")
                    .hint("is the disk full? choose another place with -o FILE"));
            }
        }
    }

    /// Puts everything back and keeps nothing.
    fn abort(self) {
        self.local.abort();
        self.live.abort();
    }

    /// Ends host and guests side by side; each is asked for what it has, whatever became of the others.
    fn end(
        self,
        trace_id: u64,
    ) -> (LiveFile, Result<Recorded, Error>, Vec<Result<FinishedGuest, Error>>) {
        let Self { local, live, guests, .. } = self;
        thread::scope(move |scope| {
            let ending =
                guests.into_iter().map(|guest| scope.spawn(move || guest.finish(trace_id)));
            let ending: Vec<_> = ending.collect();
            let recorded = local.stop();
            (live, recorded, ending.into_iter().map(joined).collect())
        })
    }
}
