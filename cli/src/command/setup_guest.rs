//! `trace-cmd setup-guest`: the other name of `virt-server --dom`, with the words of the C trace-cmd.

use clap::{Arg, ArgAction, ArgMatches, Command};
use trace_virt::libvirt::Libvirt;
use trace_virt::setup::GuestName;

use super::record::args::virt_dir;
use super::virt_server::set_up::{self, Means, Request};
use crate::error::Error;
use crate::exit_code::Exit;

const AFTER_HELP: &str = "\
Makes the guest's FIFOs, prints what its VM needs or gives it to its libvirt domain (-a), as \
'trace-cmd virt-server --dom GUEST' does.";

/// The options of `setup-guest`.
pub(crate) fn command() -> Command {
    Command::new("setup-guest")
        .about("Make the FIFOs of a guest, and give its VM the ports for them")
        .after_help(AFTER_HELP)
        .args([
            set_up::cpus()
                .help("CPUs of the guest [default: as set up before, else libvirt is asked]"),
            set_up::permission(),
            set_up::group(),
            Arg::new("attach")
                .short('a')
                .action(ArgAction::SetTrue)
                .help("Add the channels to the libvirt domain of this name"),
            virt_dir(),
            Arg::new("guest").value_name("GUEST").required(true).help("Name of the guest"),
        ])
}

/// Runs `setup-guest`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let dir = set_up::directory(matches);
    let name = matches.get_one::<String>("guest").cloned().unwrap_or_default();
    let attach = matches.get_flag("attach");
    let mut request = Request {
        cpus: matches.get_one("cpus").copied(),
        mode: matches.get_one("permission").copied(),
        group: matches.get_one::<String>("group").cloned(),
        name,
    };
    let known = GuestName::new(&request.name).map_or(0, |guest| dir.cpus(&guest).unwrap_or(0));
    if request.cpus.is_none() && !attach && known == 0 {
        request.cpus = Some(from_libvirt(&request.name)?);
    }
    set_up::set_up(&dir, &request, if attach { &Means::Attach } else { &Means::Print })?;
    Ok(Exit::Success)
}

fn from_libvirt(name: &str) -> Result<u32, Error> {
    let unknown = || Error::failure(format!("how many CPUs has guest '{name}'?"));
    let guest = GuestName::new(name)
        .map_err(|error| Error::failure("cannot set up the guest").because(error))?;
    Libvirt::default().cpus(&guest).map_err(|error| {
        unknown().because(error).hint(format!("say so: trace-cmd setup-guest -c CPUS {name}"))
    })
}
