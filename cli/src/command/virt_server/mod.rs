//! `trace-cmd virt-server`: sets guests up, serves them on the host, and obeys in the guest.

mod client;
mod log;
mod serve;
mod status;

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Command};
use trace_virt::setup::{GuestName, SetupError, SetupOptions, VirtDir};
use trace_virt::stop::StopSignals;

use super::record::args::virt_dir;
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output;

const AFTER_HELP: &str = "\
Uses:
  trace-cmd virt-server --dom guest1 -c 2    on the host, once: makes FIFOs, prints what QEMU or libvirt need
  trace-cmd virt-server                      on the host: serves all guests; start it before or after them
  trace-cmd virt-server --client             in the guest: waits for the host, at no cost
  trace-cmd virt-server --status             on the host: which guests are there, who records them, how much

Then record on the host with 'trace-cmd record -e kvm --dom guest1 -e sched'.";

/// The options of `virt-server`.
pub(crate) fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("virt-server")
        .about("Set guests up for tracing, serve them, or be traced as one")
        .after_help(AFTER_HELP)
        .args([
            Arg::new("dom").long("dom").value_name("GUEST").help("Set up the guest of this name"),
            Arg::new("cpus")
                .short('c')
                .value_name("CPUS")
                .requires("dom")
                .value_parser(clap::value_parser!(u32).range(1..=4096))
                .help("CPUs of the guest [default: as set up before]"),
            Arg::new("group")
                .short('g')
                .value_name("GROUP")
                .help("Group of directory, FIFOs and sockets: the one QEMU runs in"),
            Arg::new("permission")
                .short('p')
                .value_name("OCTAL")
                .requires("dom")
                .value_parser(|text: &str| match u32::from_str_radix(text, 8) {
                    Ok(mode) if mode <= 0o777 => Ok(mode),
                    _ => Err("not an octal mode such as 0660"),
                })
                .help("Mode of the FIFOs [default: 0660]"),
            flag("qemu", "Print only the arguments for QEMU").requires("dom"),
            flag("libvirt", "Print only the XML for libvirt")
                .requires("dom")
                .conflicts_with("qemu"),
            flag("remove", "Remove the guest's FIFOs and directory")
                .requires("dom")
                .conflicts_with_all(["qemu", "libvirt", "cpus"]),
            virt_dir(),
        ])
        .args(client::args())
        .args(serve::args())
        .args(status::args())
}

/// Runs `virt-server`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let dir = VirtDir::locate(matches.get_one::<String>("virt-dir").map(Path::new));
    if let Some(name) = matches.get_one::<String>("dom") {
        set_up(&dir, name, matches)
    } else if matches.get_flag("client") {
        client::run(matches)
    } else if matches.get_flag("status") {
        status::run(&dir, matches)
    } else {
        serve::run(&dir, matches)
    }
}

fn set_up(dir: &VirtDir, name: &str, matches: &ArgMatches) -> Result<Exit, Error> {
    let failed =
        |error: SetupError| Error::failure(format!("cannot set up guest '{name}'")).because(error);
    let guest = GuestName::new(name).map_err(failed)?;
    let mut out = output::stdout();
    if matches.get_flag("remove") {
        dir.remove(&guest).map_err(failed)?;
        writeln!(out, "removed guest {name} from {}", dir.path().display())?;
        return Ok(Exit::Success);
    }
    let known = dir.cpus(&guest).unwrap_or(0);
    let Some(cpus) = matches.get_one("cpus").copied().or((known > 0).then_some(known)) else {
        return Err(Error::usage(format!("how many CPUs has guest '{name}'?"))
            .hint(format!("say so: trace-cmd virt-server --dom {name} -c CPUS")));
    };
    let options = SetupOptions {
        cpus,
        mode: matches.get_one("permission").copied(),
        group: matches.get_one::<String>("group").cloned(),
    };
    let report = dir.setup(&guest, &options).map_err(failed)?;

    let (qemu, libvirt) = (matches.get_flag("qemu"), matches.get_flag("libvirt"));
    let mut text = String::new();
    let both = !qemu && !libvirt;
    if both {
        let _ = writeln!(
            text,
            "guest {name}: {cpus} CPUs in {} ({} files made, {} there before)\n\nQEMU arguments:\n",
            dir.path().join(name).display(),
            report.created.len(),
            report.existing.len()
        );
    }
    if qemu || both {
        for option in dir.qemu_args(&guest, cpus).map_err(failed)?.chunks(2) {
            let _ = writeln!(text, "{}", option.join(" "));
        }
    }
    if both {
        text.push_str("\nlibvirt, inside <devices>:\n\n");
    }
    if libvirt || both {
        text.push_str(&dir.libvirt_xml(&guest, cpus).map_err(failed)?);
    }
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(Exit::Success)
}

/// A descriptor that tells when to end.
fn stop_signals() -> Result<StopSignals, Error> {
    StopSignals::new().map_err(|error| Error::failure("cannot take over signals").because(error))
}
