//! Carries a plan out: this machine and its guests start together, end together, and each gets its file.

use std::path::Path;

use trace_virt::setup::VirtDir;
use tracedat::write::Version;
use tracefs::TracingDir;

use super::args::Args;
use super::destination::{Closed, Destination};
use super::extras;
use super::file::{Extra, Format};
use super::guests::{self, Conclusion, FinishedGuest, Guests, HostFile, with_something_left};
use super::local::{LocalRecording, Recorded, Settings, SinkRequest};
use super::output::Output;
use super::plan::Plan;
use super::session::{Ended, Local, Session};
use super::wait::{Signals, Tasks};
use super::{summary, tsc};
use crate::command::workload::{Workload, maps_of};
use crate::error::Error;
use crate::exit_code::Exit;

/// Records what the plan says; `has_begun` is told when all that can be wrong with it is known.
pub(crate) fn record(args: &Args, mut plan: Plan, has_begun: &dyn Fn()) -> Result<Exit, Error> {
    let signals = Signals::take()?;
    let format = Format::new(args)?;
    let output_path = args.output_path();
    let output = if args.remote.is_some() { None } else { Some(Output::open(&output_path)?) };
    let trace_id = super::new_trace_id();

    let virt_dir = VirtDir::locate(args.virt_dir.as_deref().map(Path::new));
    // Guests are reached before anything is changed here: most that can go wrong goes wrong there.
    let connected = guests::connect(&virt_dir, &plan.guests, &args.agents)?;
    let connected = with_something_left(connected, &plan)?;
    let is_exact = plan.may_count_ticks() && guests::have_exact_ticks(&connected);
    // Finding it may take a moment: once is enough.
    let tsc_to_nsec = match is_exact.then(tsc::factor).and_then(Result::ok) {
        Some(factor) => {
            plan.count_ticks();
            Some(factor)
        }
        None => extras::factor(args, &plan)?,
    };
    let plan = &plan;

    let options = extras::before(args, plan, tsc_to_nsec.as_ref())?;
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
    let mut local = match (local, destination) {
        (Ok(recording), Some(destination)) => Local { recording, destination },
        (Err(error), destination) => {
            if let Some(destination) = destination {
                destination.abort();
            }
            return Err(error);
        }
        (Ok(_), None) => return Err(Error::failure("nothing is recorded here")),
    };
    let mut extra = Extra { trace_id, options, ..Extra::default() };
    let introduced = local.destination.introduce(&mut local.recording, &extra);
    let mut session = Session { local: Some(local), guests: Guests::default(), workload, tasks };
    let begun = introduced.and_then(|()| session.begin(connected, plan, args, trace_id));
    if let Err(error) = begun {
        session.abort();
        return Err(error);
    }
    has_begun();
    if !args.quiet && !args.json {
        summary::tracers(&plan.host);
    }
    let outcome = session.run(&signals, args, plan).map(|()| Exit::Success);
    let Ended { local, guests, workload } = session.end(&HostFile { trace_id, tsc_to_nsec });
    let Some((destination, recorded)) = local else {
        return Err(Error::failure("nothing is recorded here"));
    };

    extra.options.extend(extras::maps(&maps, workload.as_ref()));
    extra.options.extend(guests.iter().flatten().flat_map(FinishedGuest::options));
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
    } else if !args.quiet && (plan.host.traces_something() || !placements.is_empty()) {
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
