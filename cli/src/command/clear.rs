//! `trace-cmd clear`: what was recorded is thrown away.

use clap::{ArgMatches, Command};
use tracefs::Instance;

use super::record::kernel_error;
use super::tracing;
use crate::error::Error;
use crate::exit_code::Exit;

const AFTER_HELP: &str = "\
Events, tracers and filters stay, and tracing goes on if it was on.
Without -B and -a the top-level buffer is cleared.

Examples:
  trace-cmd clear                 clear the top-level buffer
  trace-cmd clear -B foo          clear the instance foo";

/// Words and help of `clear`.
pub(crate) fn command() -> Command {
    Command::new("clear").about("Empty ring buffers").after_help(AFTER_HELP).args([
        tracing::instance_arg("Clear this instance; may be repeated"),
        tracing::all_arg("Clear all instances and the top-level buffer"),
        tracing::top_arg("Clear the top-level one too"),
        tracing::dir_arg(),
    ])
}

/// Runs `clear`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let dir = tracing::dir(matches)?;
    let mut chosen = tracing::instances(matches, &dir)?;
    let top = dir.top();
    if matches.get_flag("all") && !chosen.contains(&top) {
        chosen.push(top);
    }
    chosen.iter().try_for_each(Instance::clear).map_err(kernel_error)?;
    Ok(Exit::Success)
}
