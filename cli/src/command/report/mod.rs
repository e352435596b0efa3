//! `trace-cmd report`: prints recorded events, of one file or of several on one clock.
//!
//! `args` (words) → files opened and merged → [`tracedat::report`], or a page of `info`.

pub(super) mod args;
pub(super) mod filters;
mod info;
mod profile;
pub(super) mod selection;
mod vcpu;
mod window;

use std::io::{self, Write};

use clap::ArgMatches;
use regex_lite::RegexBuilder;
use tracedat::clock::ClockOptions;
use tracedat::error::ReadError;
use tracedat::plugin::HandlerOptions;
use tracedat::read::{Damage, Merge, Reader, Unreadable};
use tracedat::report::{Backwards, Compat, EventSelector, Report, ReportInput, ReportOptions};

use super::{data_file, options as plugin_options};
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output::{self, tell};
use crate::progress::{Progress, Reading};

use args::{Action, Input, ReportArgs};
pub(crate) use args::{attach_levels, command, signed};

/// Runs `report`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let compat = std::env::var("TRACE_CMD_COMPAT").ok();
    let mut args = ReportArgs::from_matches(matches, compat.as_deref())?;
    if !matches.contains_id("input") && !matches.contains_id("file") {
        for input in &mut args.inputs {
            input.path = data_file::default_input();
        }
    }
    report(&args, &mut io::stdout())
}

/// Prints what `args` asks for.
fn report(args: &ReportArgs, out: &mut (dyn Write + Send)) -> Result<Exit, Error> {
    let mut options = options(args)?;
    let mut readers = Vec::new();
    let mut clocks = Vec::new();
    let mut reading = Reading::default();
    for input in &args.inputs {
        // The others are moved against the first file, which stays where it is.
        let offset = if readers.is_empty() { 0 } else { input.offset };
        let clock = ClockOptions {
            raw: args.raw_time,
            no_date: args.no_date,
            offset,
            ticks_per_second: input.frequency.unwrap_or(0),
            floating: args.compat == Compat::V3_1_6,
        };
        readers.push(open(input, &clock, args, &mut reading, out)?);
        clocks.push(clock);
    }
    options.time_errors = args.time_errors.then_some(clocks);
    let (files, mut records) = Merge::new(readers);
    let names: Vec<String> = args.inputs.iter().map(file_name).collect();
    let inputs: Vec<ReportInput<'_>> =
        names.iter().zip(&files).map(|(name, metadata)| ReportInput { name, metadata }).collect();
    args.selection.set(&mut options, &inputs, &mut records)?;
    filters::add_processes(&mut options.filters, &args.pids, &args.comms, &inputs)?;
    if args.test_filters {
        filters::print(&options.filters, &inputs, out)?;
        return Ok(Exit::Success);
    }
    let report = Report::new(options);
    let result = match args.action {
        Action::Events => {
            out.write_all(&report.headers(&inputs).concat())?;
            if args.json.is_none() {
                print_latency_texts(&inputs, out)?;
            }
            // Elsewhere the text itself shows how far it is, or somebody else reads it.
            let progress =
                if args.quiet || !output::is_file() { None } else { reading.show("report") };
            print_events(&report, &inputs, &mut records, progress, out)
        }
        Action::Vcpu => vcpu::print(args, &report, &inputs, &mut records, out),
        Action::Profile => profile::print(args, &report, &inputs, &mut records, out),
        _ => info::print(args, &report, &inputs, &mut records, out),
    };
    if !args.quiet {
        if args.action == Action::Events && !args.no_date && !args.raw_time {
            tell_how_far_apart(&inputs);
        }
        warn(&inputs, &records);
    }
    result
}

/// Says how well stamps of several machines can be compared, where they are wall time of which that is known.
fn tell_how_far_apart(inputs: &[ReportInput<'_>]) {
    let known = inputs.iter().map(|input| input.metadata.date_uncertainty());
    let Some(mut known) = known.collect::<Option<Vec<u64>>>() else { return };
    known.sort_unstable();
    if let [.., one, other] = known.as_slice() {
        let apart = one.saturating_add(*other);
        tell(&format!(
            "stamps of different files are in order to within {apart} us, as far as the wall clocks agree"
        ));
    }
}

/// Prints what latency tracers left instead of records, and an empty line.
fn print_latency_texts(inputs: &[ReportInput<'_>], out: &mut dyn Write) -> io::Result<()> {
    for text in inputs.iter().filter_map(|input| input.metadata.latency_text()) {
        out.write_all(text)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn print_events(
    report: &Report,
    inputs: &[ReportInput<'_>],
    records: &mut Merge,
    progress: Option<Progress>,
    out: &mut (dyn Write + Send),
) -> Result<Exit, Error> {
    let printed = report.print(inputs, records, out);
    drop(progress);
    let printed = printed?;
    for Backwards { file, cpu, from, to } in printed.backwards {
        let name = inputs.get(file).map_or("", |input| input.name);
        tell(&format!("{name}: WARNING: Record on cpu {cpu} went backwards: {from} to {to}"));
    }
    Ok(Exit::Success)
}

/// Opens a file and sets how its time stamps are made.
fn open(
    input: &Input,
    clock: &ClockOptions,
    args: &ReportArgs,
    reading: &mut Reading,
    out: &mut dyn Write,
) -> Result<Reader, Error> {
    let mut reader =
        data_file::read(&input.path, reading).map_err(|cause| cannot_open(input, cause))?;
    if let Some(path) = &args.kallsyms {
        let text = std::fs::read(path).map_err(|cause| {
            Error::failure(format!("cannot read {}", path.display())).because(cause)
        })?;
        reader.metadata.add_kallsyms(&text);
    }
    reader.records.set_clock(&reader.metadata, clock);
    if args.compat == Compat::V3_1_6 {
        reader.set_damage(Damage::AsFound);
        reader.check_as_3_1_6().or_else(|damage| refuse(input, damage, out))?;
    }
    Ok(reader)
}

/// What 3.1.6 prints of a file that it does not read.
fn refuse(input: &Input, damage: Unreadable, out: &mut dyn Write) -> Result<(), Error> {
    if let Unreadable::Truncated { end, file_size, .. } = damage {
        writeln!(
            out,
            "File possibly truncated. Need at least {end}, but file size is {file_size}."
        )?;
    }
    let path = input.path.display();
    Err(Error::new(Exit::BadData, format!("3.1.6 reads nothing of {path}"))
        .because(damage)
        .hint("without TRACE_CMD_COMPAT=3.1.6 all is printed that can be read"))
}

fn cannot_open(input: &Input, cause: ReadError) -> Error {
    let path = input.path.display();
    match cause {
        ReadError::Open { source, .. } => {
            let exit = match source.kind() {
                io::ErrorKind::PermissionDenied => Exit::Permission,
                _ => Exit::Failure,
            };
            let missing = source.kind() == io::ErrorKind::NotFound;
            let error = Error::new(exit, format!("cannot open {path}")).because(source);
            if missing { error.hint("record one with 'trace-cmd record'") } else { error }
        }
        ReadError::Io { .. } | ReadError::Spool { .. } => {
            Error::failure(format!("cannot read {path}")).because(cause)
        }
        _ => Error::new(Exit::BadData, format!("cannot read {path}")).because(cause),
    }
}

/// A file as its lines are marked: without its directory.
fn file_name(input: &Input) -> String {
    input.path.file_name().unwrap_or(input.path.as_os_str()).to_string_lossy().into_owned()
}

fn options(args: &ReportArgs) -> Result<ReportOptions, Error> {
    let mut options = ReportOptions::default();
    options.compat = args.compat;
    options.full_formats = args.full_formats;
    options.json = args.json;
    options.layout = args.layout;
    options.time = args.time;
    options.raw = args.raw;
    options.raw_events = selector("-r", &args.raw_events)?;
    options.no_handlers = args.no_handlers;
    options.no_handler_events = selector("-n", &args.no_handler_events)?;
    options.raw_time = args.raw_time;
    options.align_time = args.align_time;
    options.check_time = args.check_time;
    options.time_differences = args.time_differences;
    options.wakeups = args.wakeups;
    options.no_hard_irq = args.no_hard_irq;
    options.no_soft_irq = args.no_soft_irq;
    options.boundaries = args.boundaries;
    options.threads = args.threads;
    options.filters = args.selection.filters()?;
    options.handler_options = HandlerOptions::default();
    for option in &args.handler_options {
        options.handler_options.add(option);
        // Options of plugins that are not there are no mistake, but slips of the pen are.
        if let Some(near) = plugin_options::nearest(option).filter(|_| !args.quiet) {
            tell(&format!("no plugin has the option '{option}'; {near}"));
        }
    }
    Ok(options)
}

/// The events whose name, or whose system's name, one of the expressions describes from end to end.
fn selector(option: &str, expressions: &[String]) -> Result<Option<EventSelector>, Error> {
    if expressions.is_empty() {
        return Ok(None);
    }
    let mut compiled = Vec::new();
    for expression in expressions {
        let regex =
            RegexBuilder::new(&format!("^(?:{expression})$")).case_insensitive(true).build();
        let what = || Error::usage(format!("{option} '{expression}' is no regular expression"));
        compiled.push(regex.map_err(|cause| what().because(cause))?);
    }
    Ok(Some(EventSelector::new(move |system, name| {
        compiled.iter().any(|regex| regex.is_match(name) || regex.is_match(system))
    })))
}

/// What could not be read goes to standard error, once for each place.
fn warn(inputs: &[ReportInput<'_>], records: &Merge) {
    for (index, input) in inputs.iter().enumerate() {
        for warning in input.metadata.warnings().iter().chain(records.warnings(index)) {
            tell(&format!("{}: {warning}", input.name));
        }
    }
}
