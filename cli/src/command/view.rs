//! `trace-cmd view`: traces of a host and its guests as one web page.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tracedat::clock::ClockOptions;
use tracedat::metadata::Metadata;
use tracedat::read::Merge;
use tracedat::report::{Report, ReportInput, ReportOptions};
use tracedat::view::{View, ViewError};

use super::data_file;
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output::tell;
use crate::progress::Reading;

const AFTER_HELP: &str = "\
The page is one file that needs no network and no program but a browser. Guests recorded together with the host are on its clock.

Try:
  trace-cmd view                                        trace.dat as trace.html
  trace-cmd view trace.dat trace-guest1.dat -o both.html   host and guest on one time axis
  trace-cmd view --no-details -o small.html             a tenth of the size, without the fields of events";

/// Words and help of `view`.
pub(crate) fn command() -> Command {
    Command::new("view")
        .about("Makes a web page that shows CPUs and tasks of host and guests on one time axis")
        .after_help(AFTER_HELP)
        .arg(
            Arg::new("input")
                .short('i')
                .long("input")
                .value_name("FILE")
                .action(ArgAction::Append)
                .value_parser(value_parser!(PathBuf))
                .help("A file to show; may also stand by itself [default: trace.dat]"),
        )
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .num_args(0..)
                .value_parser(value_parser!(PathBuf))
                .help("Files to show, the host's first"),
        )
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("FILE")
                .default_value("trace.html")
                .value_parser(value_parser!(PathBuf))
                .help("The page to write"),
        )
        .arg(
            Arg::new("max-events")
                .long("max-events")
                .value_name("N")
                .default_value("1000000")
                .value_parser(value_parser!(u64).range(1..=20_000_000))
                .help("Show the first N events"),
        )
        .arg(
            Arg::new("no-details")
                .long("no-details")
                .action(ArgAction::SetTrue)
                .help("Leave out the fields of events"),
        )
}

/// Runs `view`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let named = |id| matches.get_many::<PathBuf>(id).into_iter().flatten().cloned();
    let mut paths: Vec<PathBuf> = named("input").chain(named("file")).collect();
    if paths.is_empty() {
        paths.push("trace.dat".into());
    }
    let output = matches.get_one::<PathBuf>("output").cloned().unwrap_or_default();
    let max_events = matches.get_one::<u64>("max-events").copied().unwrap_or(u64::MAX);
    check(&paths, &output)?;

    let mut reading = Reading::default();
    let (files, mut records) = open(&paths, &mut reading)?;
    let names: Vec<String> = paths.iter().map(|path| file_name(path)).collect();
    let inputs: Vec<ReportInput<'_>> =
        names.iter().zip(&files).map(|(name, metadata)| ReportInput { name, metadata }).collect();
    let progress = reading.show("view");
    let report = Report::new(ReportOptions::default());
    let clocks = vec![ClockOptions::default(); inputs.len()];
    let view = View::collect(&report, &inputs, &clocks, &mut records, max_events)
        .map_err(|cause| Error::new(Exit::BadData, "cannot read on").because(cause))?;
    for (index, input) in inputs.iter().enumerate() {
        for warning in input.metadata.warnings().iter().chain(records.warnings(index)) {
            tell(&format!("{}: {warning}", input.name));
        }
    }
    if view.events() == 0 {
        return Err(Error::failure("there are no events to show").hint("name other files with -i"));
    }
    let mut again = match matches.get_flag("no-details") {
        true => None,
        false => Some(open(&paths, &mut Reading::default())?.1),
    };
    write(&output, |out| view.write(&report, &inputs, again.as_mut(), out))?;
    drop(progress);
    if view.left_out() > 0 {
        let (shown, others) = (view.events(), view.left_out());
        tell(&format!(
            "{}: the first {shown} events; {others} are left out, --max-events takes more",
            output.display()
        ));
    }
    Ok(Exit::Success)
}

/// Files are read twice, and none is overwritten.
fn check(paths: &[PathBuf], output: &Path) -> Result<(), Error> {
    let same = fs::canonicalize(output).ok();
    for path in paths {
        if path.as_os_str() == "-" {
            return Err(Error::usage("a page cannot be made of standard input")
                .hint("name a file, it is read twice"));
        }
        if same.is_some() && fs::canonicalize(path).ok() == same {
            let message = format!("{} is input and output", path.display());
            return Err(Error::usage(message).hint("name another file with -o FILE"));
        }
    }
    Ok(())
}

fn open(paths: &[PathBuf], reading: &mut Reading) -> Result<(Vec<Metadata>, Merge), Error> {
    let mut readers = Vec::new();
    for path in paths {
        let mut reader =
            data_file::read(path, reading).map_err(|cause| data_file::cannot_read(path, cause))?;
        reader.records.set_clock(&reader.metadata, &ClockOptions::default());
        readers.push(reader);
    }
    Ok(Merge::new(readers))
}

/// A file as the page names it: without its directory.
fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Writes the page; nobody finds half of one under the name that was asked for.
fn write(
    output: &Path,
    page: impl FnOnce(&mut (dyn Write + Send)) -> Result<(), ViewError>,
) -> Result<(), Error> {
    let mut part = output.to_path_buf().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let cannot_write = || Error::failure(format!("cannot write {}", output.display()));
    let file = File::create(&part)
        .map_err(|cause| cannot_write().because(cause).hint("name another file with -o FILE"))?;
    let written = page(&mut BufWriter::new(file)).map_err(|cause| match cause {
        ViewError::Read(cause) => Error::new(Exit::BadData, "cannot read on").because(cause),
        cause => cannot_write().because(cause).hint("name another file with -o FILE"),
    });
    if let Err(error) = written {
        // The error says more than a failure to clean up could.
        let _ = fs::remove_file(&part);
        return Err(error);
    }
    fs::rename(&part, output).map_err(|cause| cannot_write().because(cause))
}
