//! `trace-cmd virt-server`: sets guests up, serves them on the host, and obeys in the guest.

mod accept;
mod client;
mod doctor;
mod log;
mod serve;
pub(super) mod set_up;
mod status;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};
use trace_virt::stop::StopSignals;

use super::record::args::virt_dir;
use crate::error::Error;
use crate::exit_code::Exit;

const AFTER_HELP: &str = "\
On the host, the server gives up what it does not need once its sockets are there: root's capabilities, and, where the kernel has \
landlock, all files but its directory, that of --accept, and /proc, which tells whose QEMU connects. --user gives up root \
itself: with --accept this user must be able to read the guests' FIFOs (-g), and the sockets stay for the next server \
to replace. --no-sandbox keeps all.

Examples:
  trace-cmd virt-server --dom guest1 -c 2    on the host, once: print what QEMU or libvirt need
  trace-cmd virt-server                      on the host: serve all guests, at any time
  trace-cmd virt-server --accept DIR         the same, and guests may 'record --virt'
  trace-cmd virt-server --client             in the guest: wait for the host, at no cost
  trace-cmd virt-server --doctor guest1      on the host: what is missing, and the next step
  trace-cmd virt-server --status             on the host: which guests are there, who records them
  trace-cmd record -e kvm --dom guest1 -e sched   on the host: record both";

/// The options of `virt-server`.
pub(crate) fn command() -> Command {
    Command::new("virt-server")
        .about("Set guests up for tracing, serve them, or be traced as one")
        .after_help(AFTER_HELP)
        .args(set_up::args())
        .args(doctor::args())
        .arg(virt_dir())
        .args(client::args())
        .args(serve::args())
        .args(accept::args())
        .arg(status::arg())
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .requires("question")
                .help("With --status or --doctor: print it as one JSON object"),
        )
        .group(ArgGroup::new("question").args(["status", "doctor"]))
}

/// Runs `virt-server`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let dir = set_up::directory(matches);
    if matches.contains_id("dom") {
        set_up::run(&dir, matches)
    } else if let Some(name) = matches.get_one::<String>("doctor") {
        doctor::run(&dir, name, matches)
    } else if matches.get_flag("client") {
        client::run(matches)
    } else if matches.get_flag("status") {
        status::run(&dir, matches)
    } else {
        serve::run(&dir, matches)
    }
}

fn stop_signals() -> Result<StopSignals, Error> {
    StopSignals::new().map_err(|error| Error::failure("cannot take over signals").because(error))
}
