//! `trace-cmd virt-server`: sets guests up, serves them on the host, and obeys in the guest.

mod doctor;
mod log;
pub(super) mod set_up;

use std::io::Write;
use std::os::fd::AsFd;

use clap::{Arg, ArgAction, ArgMatches, Command};
use trace_virt::client::{Client, ClientOptions, ExecPolicy};
use trace_virt::server::{Server, ServerOptions};
use trace_virt::setup::VirtDir;
use trace_virt::stop::StopSignals;

use super::record::args::virt_dir;
use super::record::guest_side::Recorder;
use crate::error::Error;
use crate::exit_code::Exit;

const AFTER_HELP: &str = "\
Uses:
  trace-cmd virt-server --dom guest1 -c 2    on the host, once: makes FIFOs, prints what QEMU or libvirt need
  trace-cmd virt-server                      on the host: serves all guests; start it before or after them
  trace-cmd virt-server --client             in the guest: waits for the host, at no cost
  trace-cmd virt-server --doctor guest1      on the host: says what is missing, and the next step

Then record on the host with 'trace-cmd record -e kvm --dom guest1 -e sched'.";

/// The options of `virt-server`.
pub(crate) fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("virt-server")
        .about("Set guests up for tracing, serve them, or be traced as one")
        .after_help(AFTER_HELP)
        .args(set_up::args())
        .args(doctor::args())
        .args([
            flag("client", "Obey the host; run this in the guest").conflicts_with("dom"),
            Arg::new("allow-exec")
                .long("allow-exec")
                .value_name("COMMAND,...")
                .requires("client")
                .num_args(0..=1)
                .require_equals(true)
                .value_delimiter(',')
                .help("Let the host run these commands here; without a list, any"),
            flag("no-exec", "Let the host run nothing here (the default; wins over --allow-exec)")
                .requires("client"),
            virt_dir(),
        ])
}

/// Runs `virt-server`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let dir = set_up::directory(matches);
    if matches.contains_id("dom") {
        set_up::run(&dir, matches)
    } else if let Some(name) = matches.get_one::<String>("doctor") {
        doctor::run(&dir, name, matches)
    } else if matches.get_flag("client") {
        obey(matches)
    } else {
        serve(&dir, matches)
    }
}

fn serve(dir: &VirtDir, matches: &ArgMatches) -> Result<Exit, Error> {
    let stop = stop_signals()?;
    let group = matches.get_one::<String>("group").cloned();
    let options = ServerOptions { group, ..ServerOptions::default() };
    let failed = |error| Error::failure("virt-server cannot serve").because(error);
    let server = Server::bind(dir, &options).map_err(failed)?;
    say(&format!("serving guests on {}", dir.agent_socket().display()));
    server.run(stop.as_fd(), &mut |event| say(&log::of_server(event))).map_err(failed)?;
    Ok(Exit::Success)
}

fn obey(matches: &ArgMatches) -> Result<Exit, Error> {
    let stop = stop_signals()?;
    let exec = match matches.get_many::<String>("allow-exec") {
        _ if matches.get_flag("no-exec") => ExecPolicy::Deny,
        Some(commands) if commands.len() > 0 => ExecPolicy::Only(commands.cloned().collect()),
        _ if matches.contains_id("allow-exec") => ExecPolicy::Any,
        _ => ExecPolicy::Deny,
    };
    let version = format!("trace-cmd {}", env!("CARGO_PKG_VERSION"));
    let options = ClientOptions { exec, version, ports: Default::default() };
    let failed = |error| {
        Error::new(Exit::Guest, "virt-server --client cannot wait for the host")
            .because(error)
            .hint("is this a guest with the ports of 'virt-server --dom'?")
    };
    let client = Client::new(options, Box::new(Recorder)).map_err(failed)?;
    client.run(stop.as_fd(), &mut |event| say(&log::of_client(event))).map_err(failed)?;
    Ok(Exit::Success)
}

/// A log line; where nobody reads them any more, serving goes on.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "virt-server: {line}");
}

fn stop_signals() -> Result<StopSignals, Error> {
    StopSignals::new().map_err(|error| Error::failure("cannot take over signals").because(error))
}
