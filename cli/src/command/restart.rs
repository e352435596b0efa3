//! `trace-cmd restart`: the ring buffers take events again.

use clap::{ArgMatches, Command};

use super::record::kernel_error;
use super::tracing;
use crate::error::Error;
use crate::exit_code::Exit;

const AFTER_HELP: &str = "\
Goes on after 'trace-cmd stop' with the events and tracers that are set.
Without -B, -a and -t the top-level buffer is restarted. -a leaves that one alone; trace-cmd
3.1.6 takes it too, though its manual says otherwise.

Examples:
  trace-cmd restart               restart the top-level buffer
  trace-cmd restart -a            restart all instances";

/// Words and help of `restart`.
pub(crate) fn command() -> Command {
    Command::new("restart").about("Go on tracing after 'stop'").after_help(AFTER_HELP).args([
        tracing::instance_arg("Restart this instance; may be repeated"),
        tracing::all_arg("Restart all instances, the top-level one not counted"),
        tracing::top_arg("Restart the top-level one too"),
        tracing::dir_arg(),
    ])
}

/// Runs `restart`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let dir = tracing::dir(matches)?;
    for instance in tracing::instances(matches, &dir)? {
        instance.set_tracing_on(true).map_err(kernel_error)?;
    }
    Ok(Exit::Success)
}
