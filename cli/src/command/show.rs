//! `trace-cmd show`: prints a control file or a buffer as the kernel words it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tracefs::{ControlFile, EventName, Instance, TracingDir};

use super::record::kernel_error;
use super::tracing;
use crate::error::Error;
use crate::exit_code::Exit;

/// Options that name a control file.
const FILES: &[(&str, &str)] = &[
    ("tracing_on", "tracing_on"),
    ("current_tracer", "current_tracer"),
    ("buffer_size", "buffer_size_kb"),
    ("buffer_total_size", "buffer_total_size_kb"),
    ("buffer_subbuf_size", "buffer_subbuf_size_kb"),
    ("buffer_percent", "buffer_percent"),
    ("ftrace_filter", "set_ftrace_filter"),
    ("ftrace_notrace", "set_ftrace_notrace"),
    ("ftrace_pid", "set_ftrace_pid"),
    ("graph_function", "set_graph_function"),
    ("graph_notrace", "set_graph_notrace"),
    ("cpumask", "tracing_cpumask"),
    ("max_latency", "tracing_max_latency"),
];

const AFTER_HELP: &str = "\
Without options the buffer of the top-level instance is printed; it keeps its events.
-p takes the events out of the buffer, and waits for more until Ctrl-C.
Options that name a file print that instead, in the order given, each for the -B before it.

Examples:
  trace-cmd show                          the buffer as text
  trace-cmd show -c 1 -B foo              that of CPU 1 of the instance foo
  trace-cmd show -p                       follow what happens
  trace-cmd show --hist sched_switch      the histograms of an event
  trace-cmd show --tracing_on --cpumask   two control files";

/// Words and help of `show`.
pub(crate) fn command() -> Command {
    let flag = |name: &'static str, short: char, help: &'static str| {
        Arg::new(name).short(short).action(ArgAction::SetTrue).help(help)
    };
    let of_event = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("EVENT").help(help)
    };
    // A flag that appends keeps its place among the others.
    let of_file = |(name, file): &(&'static str, &'static str)| {
        Arg::new(*name)
            .long(*name)
            .num_args(0)
            .default_missing_value("")
            .action(ArgAction::Append)
            .help(format!("Print {file}"))
    };
    Command::new("show")
        .about("Print the ring buffer as text, or a control file")
        .after_help(AFTER_HELP)
        .args([
            flag("pipe", 'p', "Follow trace_pipe").conflicts_with("snapshot"),
            flag("snapshot", 's', "Print the snapshot"),
            Arg::new("cpu")
                .short('c')
                .value_name("CPU")
                .value_parser(value_parser!(u32))
                .help("Print what this CPU recorded only"),
            tracing::instance_arg("Print that of this instance"),
            flag("path", 'f', "Print the path of the buffer's file first"),
            of_event("hist", "Print the histograms of this event").conflicts_with("trigger"),
            of_event("trigger", "Print the triggers of this event"),
        ])
        .args(FILES.iter().map(of_file))
        .arg(tracing::dir_arg())
}

/// Runs `show`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let dir = tracing::dir(matches)?;
    let instance = tracing::last_instance(matches, &dir)?;
    for name in ["hist", "trigger"] {
        if let Some(pattern) = matches.get_one::<String>(name) {
            let event = single_event(&instance, pattern)?;
            let file = instance.event_file(&event, name);
            print(&file).map_err(|error| match name {
                "hist" if !file.exists() => error.hint("it needs CONFIG_HIST_TRIGGERS"),
                _ => error,
            })?;
            return Ok(Exit::Success);
        }
    }
    let files = named_files(matches, &dir)?;
    if files.is_empty() {
        print_buffer(matches, &instance)?;
    }
    files.iter().try_for_each(print)?;
    Ok(Exit::Success)
}

/// Control files that options name, in the order of the options; each of the instance of the -B before it.
fn named_files(matches: &ArgMatches, dir: &TracingDir) -> Result<Vec<ControlFile>, Error> {
    let mut placed: Vec<(usize, &str)> = Vec::new();
    for (name, file) in FILES {
        placed.extend(matches.indices_of(name).into_iter().flatten().map(|at| (at, *file)));
    }
    placed.sort_unstable();
    let mut instances = vec![(0, dir.top())];
    let names = matches.get_many::<String>("instance").into_iter().flatten();
    for (at, name) in matches.indices_of("instance").into_iter().flatten().zip(names) {
        instances.push((at, tracing::instance(dir, name)?));
    }
    let file = |(at, name)| {
        let before = instances.iter().rev().find(|(stood, _)| *stood <= at);
        let of_instance =
            before.map(|(_, instance)| instance.file(name)).filter(ControlFile::exists);
        // Some are of the top-level instance alone.
        of_instance.unwrap_or_else(|| dir.file(name))
    };
    Ok(placed.into_iter().map(file).collect())
}

fn print_buffer(matches: &ArgMatches, instance: &Instance) -> Result<(), Error> {
    let name = match () {
        () if matches.get_flag("pipe") => "trace_pipe",
        () if matches.get_flag("snapshot") => "snapshot",
        () => "trace",
    };
    let file = match matches.get_one::<u32>("cpu").copied() {
        Some(cpu) => {
            check_cpu(instance, cpu)?;
            instance.cpu_file(cpu, name)
        }
        None => instance.file(name),
    };
    if matches.get_flag("path") {
        writeln!(io::stdout(), "{}", file.path().display())?;
    }
    print(&file).map_err(|error| match name {
        "snapshot" if !file.exists() => error.hint("it needs CONFIG_TRACER_SNAPSHOT"),
        _ => error,
    })
}

/// Refuses a CPU that has no buffer.
pub(super) fn check_cpu(instance: &Instance, cpu: u32) -> Result<(), Error> {
    let cpus = instance.cpus().map_err(kernel_error)?;
    if cpus.contains(&cpu) {
        return Ok(());
    }
    let cpus: Vec<String> = cpus.iter().map(u32::to_string).collect();
    Err(Error::failure(format!("no CPU {cpu}")).hint(format!("there are: {}", cpus.join(" "))))
}

/// The one event that a pattern means.
fn single_event(instance: &Instance, pattern: &str) -> Result<EventName, Error> {
    let selection = instance.select(pattern).map_err(kernel_error)?;
    let mut events = selection.events();
    match (events.next(), events.next()) {
        (Some(event), None) => Ok(event),
        (first, _) => {
            let message = format!("'{pattern}' means {} events", selection.len());
            let hint = first.map(|event| format!("name one of them, as {event}"));
            Err(Error::usage(message).hint(hint.unwrap_or_default()))
        }
    }
}

/// Copies a control file to standard output.
pub(super) fn print(file: &ControlFile) -> Result<(), Error> {
    copy(file.open().map_err(kernel_error)?, file.path().display())
}

/// Copies what the kernel gives to standard output, each piece as soon as it comes.
pub(super) fn copy(mut input: File, name: impl fmt::Display) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    let mut piece = vec![0; 64 * 1024];
    loop {
        let read = match input.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::failure(format!("cannot read {name}")).because(error)),
        };
        out.write_all(piece.get(..read).unwrap_or_default())?;
        out.flush()?;
    }
}
