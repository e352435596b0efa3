//! `trace-cmd stop`: the ring buffers take no more events.

use clap::{ArgMatches, Command};

use super::record::kernel_error;
use super::tracing;
use crate::error::Error;
use crate::exit_code::Exit;

const AFTER_HELP: &str = "\
Events, tracers and filters stay as they are, and so does what was recorded; 'restart' goes on.
Without -B, -a and -t the top-level buffer is stopped. -a leaves that one alone; trace-cmd
3.1.6 takes it too, though its manual says otherwise.

Examples:
  trace-cmd stop                  stop the top-level buffer
  trace-cmd stop -B foo -t        stop the instance foo and the top-level buffer
  trace-cmd stop -a -t            stop everything";

/// Words and help of `stop`.
pub(crate) fn command() -> Command {
    Command::new("stop").about("Stop tracing; what was recorded stays").after_help(AFTER_HELP).args(
        [
            tracing::instance_arg("Stop this instance; may be repeated"),
            tracing::all_arg("Stop all instances, the top-level one not counted"),
            tracing::top_arg("Stop the top-level one too"),
            tracing::dir_arg(),
        ],
    )
}

/// Runs `stop`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let dir = tracing::dir(matches)?;
    for instance in tracing::instances(matches, &dir)? {
        instance.set_tracing_on(false).map_err(kernel_error)?;
    }
    Ok(Exit::Success)
}
