//! Recordings of latency tracers: what they keep is the text of `trace`, of the largest latency.

use std::io::Cursor;

use tracedat::write::{TextData, Version, Writer};
use tracefs::{Capture, Instance};

use super::args::Args;
use super::extras;
use super::file::{self, Extra, Format};
use super::local::{Machine, kernel_error};
use super::output::Output;
use super::plan::Plan;
use super::summary;
use super::wait::{Event, Signals, Tasks};
use crate::command::tracing_plan::Applied;
use crate::command::workload::Workload;
use crate::error::Error;
use crate::exit_code::Exit;

/// Traces until the command has ended, or Ctrl-C, and stores the texts; `has_begun` is told when
/// all that can be wrong is known.
pub(crate) fn record(args: &Args, plan: &Plan, has_begun: &dyn Fn()) -> Result<Exit, Error> {
    let signals = Signals::take()?;
    let format = Format::new(args)?;
    if format.version == Version::V6 && !plan.host.instances.is_empty() {
        return Err(Error::usage("version 6 has no place for latencies of instances")
            .hint("leave --file-version or -B out"));
    }
    let output = Output::open(&args.output_path())?;
    let options = extras::before(args, plan, extras::factor(args, plan)?.as_ref())?;
    Workload::check(&args.command)?;
    let mut tasks = Tasks::open(&plan.host.pids())?;
    let mut workload = Workload::hold(&args.command, args.setup.user.as_deref())?;
    let command = workload.as_ref().map(Workload::pid);
    let mut applied = Applied::new(&plan.host, args.setup.choices(), command)?;
    applied.begin()?;
    match &mut workload {
        Some(workload) => workload.release()?,
        None if !args.quiet => summary::how_to_stop(),
        None => {}
    }
    has_begun();
    let has_tasks = workload.is_none() && !plan.host.pids().is_empty();
    loop {
        if signals.wait(&tasks, None)? == Event::Interrupted
            || workload.as_mut().is_some_and(Workload::has_ended)
            || (has_tasks && tasks.have_ended())
        {
            break;
        }
    }
    for instance in &applied.instances {
        applied.changes.set_tracing_on(instance, false).map_err(kernel_error)?;
    }
    let extra = Extra { trace_id: super::new_trace_id(), options, ..Extra::default() };
    let Applied { dir, changes, instances, events, .. } = applied;
    let formats = (!args.all_formats).then_some(&events);
    let capture = Capture::read(&dir, formats).map_err(kernel_error)?;
    let machine = Machine::new(&dir, instances.first(), capture.into())?;
    store(&output, format, &machine, &instances, &extra)?;
    if args.keep_after {
        changes.keep();
    } else {
        changes
            .restore()
            .map_err(|error| Error::failure("tracing is not as it was before").because(error))?;
    }
    Ok(Exit::Success)
}

/// Writes the text of `trace` of each instance.
pub(crate) fn store(
    output: &Output,
    format: Format,
    machine: &Machine,
    instances: &[Instance],
    extra: &Extra,
) -> Result<(), Error> {
    let mut texts = Vec::new();
    for instance in instances {
        let clock = instance.trace_clocks().map(|clocks| clocks.current).unwrap_or_default();
        let text = instance.file("trace").read().map_err(kernel_error)?;
        texts.push((instance.name().unwrap_or_default(), clock, Cursor::new(text)));
    }
    let failed = |error| output.failed(error);
    let head = file::head(machine, &[], extra);
    let settings = file::settings(machine, format)?;
    let writer = Writer::create(output.emptied()?, settings, &head).map_err(failed)?;
    let texts = texts.iter_mut().map(|(name, clock, text)| TextData { name, clock, data: text });
    writer.finish_text(&[], texts.collect()).map_err(failed)?;
    output.publish()
}
