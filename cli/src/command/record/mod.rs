//! `trace-cmd record`: events of this kernel, and of its guests, into files.
//!
//! `args` (words in order) → `plan` (who records what) → `run` (the kernel is touched).

pub(crate) mod args;
pub(crate) mod plan;
mod wait;

use clap::ArgMatches;

use crate::error::Error;
use crate::exit_code::Exit;

pub(crate) use args::command;

/// Runs `record`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let args = args::Args::from_matches(matches);
    let plan = plan::Plan::new(&args)?;
    let _ = (plan, wait::Signals::take()?);
    Ok(Exit::Success)
}
