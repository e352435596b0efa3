//! Takes out what the ring buffers hold.

use tracedat::write::option;
use tracefs::{Capture, Changes, Instance, Priority, Recorder, RecorderOptions, TracingDir};

use super::args::Args;
use super::kernel_texts;
use crate::command::record::date::{self, WallTime};
use crate::command::record::file::Extra;
use crate::command::record::live::{Closed, LiveFile};
use crate::command::record::local::{Machine, RecordedBuffer, SinkRequest};
use crate::command::record::output::Output;
use crate::command::record::{kernel_error, latency, new_trace_id, summary};
use crate::command::tracing;
use crate::command::tracing_plan::plan::is_latency_tracer;
use crate::error::Error;
use crate::exit_code::Exit;
use crate::progress::Progress;

/// Makes the file.
pub(super) fn extract(args: &Args) -> Result<Exit, Error> {
    let dir = TracingDir::find_or_mount().map_err(kernel_error)?;
    let instances = instances(args, &dir)?;
    let output = Output::open(&args.output)?;
    let mut extra = Extra { trace_id: new_trace_id(), ..Extra::default() };
    if args.date {
        let first = instances.first().map(Instance::trace_clocks).transpose();
        let clock = first.map_err(kernel_error)?.map(|clocks| clocks.current);
        let WallTime { offset, uncertainty } = date::wall_time_of(clock.as_deref())?;
        extra.options.push(option::date_within(offset, uncertainty));
    }
    kernel_texts::add(&mut extra, args.format, &instances);
    let mut changes = Changes::new();
    for instance in &instances {
        // What comes in meanwhile would have no end.
        changes.set_tracing_on(instance, false).map_err(kernel_error)?;
        for text in &args.options {
            let (name, on) = match text.strip_prefix("no") {
                Some(name) if !instance.file(&format!("options/{text}")).exists() => (name, false),
                _ => (text.as_str(), true),
            };
            changes.set_trace_option(instance, name, on).map_err(kernel_error)?;
        }
    }
    let extracted = if measures_latency(args, &instances)? {
        let machine = machine(&dir, &instances)?;
        latency::store(&output, args.format, &machine, &instances, &extra)
    } else {
        take(args, output, &dir, &instances, &extra)
    };
    let restored = changes.restore();
    extracted?;
    restored.map_err(|error| Error::failure("tracing is not as it was before").because(error))?;
    Ok(Exit::Success)
}

fn instances(args: &Args, dir: &TracingDir) -> Result<Vec<Instance>, Error> {
    let mut instances = Vec::new();
    if args.top || (args.instances.is_empty() && !args.all) {
        instances.push(dir.top());
    }
    let mut names = args.instances.clone();
    if args.all {
        names.extend(dir.instances().map_err(kernel_error)?);
    }
    for name in names {
        let instance = tracing::instance(dir, &name)?;
        if !instances.contains(&instance) {
            instances.push(instance);
        }
    }
    if instances.is_empty() {
        return Err(Error::failure("there is no instance to extract")
            .hint("leave -a out for the top-level one"));
    }
    Ok(instances)
}

fn measures_latency(args: &Args, instances: &[Instance]) -> Result<bool, Error> {
    if let Some(tracer) = &args.tracer {
        return Ok(is_latency_tracer(tracer));
    }
    for instance in instances {
        if is_latency_tracer(&instance.current_tracer().map_err(kernel_error)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn machine(dir: &TracingDir, instances: &[Instance]) -> Result<Machine, Error> {
    let capture = Capture::read(dir, None).map_err(kernel_error)?;
    Machine::new(dir, instances.first(), capture.into())
}

fn take(
    args: &Args,
    output: Output,
    dir: &TracingDir,
    instances: &[Instance],
    extra: &Extra,
) -> Result<(), Error> {
    let requests = instances.iter().map(SinkRequest::of).collect::<Result<Vec<_>, _>>()?;
    let mut options = RecorderOptions::default();
    options.snapshot = args.snapshot;
    // Nothing goes on meanwhile that it would have to be before.
    options.priority = Priority::Inherited;
    let (id, priority) = (extra.trace_id, options.priority);
    let (live, sinks) = LiveFile::create(output, args.format, id, dir, &requests, None, priority)?;
    let mut buffers = Vec::new();
    for ((instance, request), sinks) in instances.iter().zip(requests).zip(sinks) {
        let sinks = request.cpus.iter().copied().zip(sinks).collect();
        let recorder = match Recorder::start(instance, sinks, &options) {
            Ok(recorder) => recorder,
            Err(error) => {
                // Nothing of the file is worth keeping.
                live.abort();
                return Err(kernel_error(error));
            }
        };
        let so_far = recorder.progress();
        let progress = (!args.quiet).then(|| Progress::start("extract", 0, move || so_far.bytes()));
        // Once told to stop it takes what there is.
        let ledger = recorder.stop();
        drop(progress);
        let stats = request.cpus.iter().map(|&cpu| instance.buffer_stats_text(cpu));
        let stats = stats.collect::<Result<_, _>>().map_err(kernel_error)?;
        buffers.push(RecordedBuffer { name: request.name, stats, ledger });
    }
    let machine = machine(dir, instances)?;
    let path = live.path();
    let Closed { placements, problem, .. } = live.close(&machine, &mut buffers, extra)?;
    if !args.quiet {
        summary::placements(&placements, args.format.is_compressed())?;
    }
    summary::losses(&buffers);
    problem.or_else(|| summary::failure(&path, &buffers)).map_or(Ok(()), Err)
}
