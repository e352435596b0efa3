//! `trace-cmd extract`: makes a file of what the ring buffers hold.

mod args;
mod kernel_texts;
mod run;

use clap::ArgMatches;

use crate::error::Error;
use crate::exit_code::Exit;

pub(crate) use args::command;

/// Runs `extract`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    run::extract(&args::Args::from_matches(matches)?)
}
