//! `trace-cmd hist`: counts call chains.

use std::io::Write;
use std::thread::available_parallelism;

use clap::{Arg, ArgAction, ArgMatches, Command};
use tracedat::Reader;
use tracedat::histogram::{Histogram, HistogramOptions};

use super::data_file;
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output;

const AFTER_HELP: &str = "\
Chains come from stack traces and from the function tracers.

Examples:
  trace-cmd hist       for each task what occurs most, and from where
  trace-cmd hist -P    all tasks together";

/// Words and help of `hist`.
pub(crate) fn command() -> Command {
    Command::new("hist")
        .about("Show how often events and functions occur, and from where")
        .after_help(AFTER_HELP)
        .args(data_file::input_args())
        .arg(
            Arg::new("ignore-pids")
                .short('P')
                .action(ArgAction::SetTrue)
                .help("Count all tasks together"),
        )
}

/// Runs `hist`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let path = data_file::input(matches);
    let Reader { metadata, mut records } = data_file::open_events(&path)?;
    let options = HistogramOptions { ignore_pids: matches.get_flag("ignore-pids") };
    // One thread counts what another decompresses.
    if available_parallelism().is_ok_and(|threads| threads.get() > 1) {
        records.read_ahead(1);
    }
    let histogram = Histogram::count(&metadata, &mut records, options)
        .map_err(|cause| data_file::cannot_read(&path, cause))?;
    let mut out = output::stdout();
    histogram.print(&mut out)?;
    out.flush()?;
    data_file::warn(&path, &metadata);
    data_file::warn_of_records(&path, &records);
    Ok(Exit::Success)
}
