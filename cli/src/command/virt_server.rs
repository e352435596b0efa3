//! `trace-cmd virt-server`: sets guests up, serves them on the host, and obeys in the guest.

use clap::{ArgMatches, Command};

use crate::error::Error;
use crate::exit_code::Exit;

pub(crate) fn command() -> Command {
    Command::new("virt-server").about("Set guests up for tracing, serve them, or be traced as one")
}

pub(crate) fn run(_matches: &ArgMatches) -> Result<Exit, Error> {
    Err(Error::failure("virt-server is being written"))
}
