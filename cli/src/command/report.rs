//! `trace-cmd report`: prints recorded events.

use clap::{ArgMatches, Command};

use crate::error::Error;
use crate::exit_code::Exit;

pub(crate) fn command() -> Command {
    Command::new("report").about("Print recorded events")
}

pub(crate) fn run(_matches: &ArgMatches) -> Result<Exit, Error> {
    Err(Error::failure("report is being written"))
}
