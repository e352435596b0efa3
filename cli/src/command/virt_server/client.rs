//! `virt-server --client`: obeys the host, as far as this guest's policy goes.

use std::os::fd::AsFd;

use clap::{Arg, ArgAction, ArgMatches};
use trace_virt::client::{Client, ClientError, ClientOptions};

use super::log::{self, Log};
use super::stop_signals;
use crate::command::guest_rules::{self, GuestRules};
use crate::command::record::guest_side::Recorder;
use crate::error::Error;
use crate::exit_code::Exit;

/// Options of the guest's side.
pub(super) fn args() -> impl Iterator<Item = Arg> {
    let client = Arg::new("client")
        .long("client")
        .action(ArgAction::SetTrue)
        .conflicts_with("dom")
        .help("Obey the host; run this in the guest");
    let rules = guest_rules::args().into_iter().map(|arg| arg.requires("client"));
    std::iter::once(client).chain(rules).map(|arg| arg.help_heading("In the guest"))
}

/// Serves the host until told to stop.
pub(super) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let stop = stop_signals()?;
    let log = Log::open(matches)?;
    let GuestRules { exec, exec_user, policy } = GuestRules::from_matches(matches)?;
    let options = ClientOptions {
        exec,
        exec_user,
        version: format!("trace-cmd {}", env!("CARGO_PKG_VERSION")),
        ports: Default::default(),
    };
    let failed = |error| {
        let hint = match error {
            ClientError::Busy { .. } => {
                "one client is enough; end the other to start one with other rules"
            }
            _ => "is this a guest with the ports of 'virt-server --dom'?",
        };
        Error::new(Exit::Guest, "virt-server --client cannot wait for the host")
            .because(error)
            .hint(hint)
    };
    let client = Client::new(
        options,
        Box::new(Recorder { policy, has_frames: true, instance: None, guest: None }),
    )
    .map_err(failed)?;
    client.run(stop.as_fd(), &mut |event| log.say(&log::of_client(event))).map_err(failed)?;
    Ok(Exit::Success)
}
