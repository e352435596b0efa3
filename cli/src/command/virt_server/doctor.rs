//! `virt-server --doctor`: what keeps a guest from being recorded, and the next step for each.

use std::fmt::Write as _;
use std::io::Write;

use clap::{Arg, ArgMatches};
use trace_virt::doctor::{Doctor, Fault};
use trace_virt::setup::{GuestName, VirtDir};

use crate::error::Error;
use crate::exit_code::Exit;
use crate::json::Json;
use crate::nearest::did_you_mean_guest;
use crate::output;

/// The options of the doctor.
pub(super) fn args() -> Vec<Arg> {
    vec![
        Arg::new("doctor")
            .long("doctor")
            .value_name("GUEST")
            .conflicts_with_all(["dom", "client"])
            .help("Say what keeps this guest from being recorded, and what to do about it"),
        Arg::new("qmp")
            .long("qmp")
            .value_name("SOCKET")
            .requires("doctor")
            .help("Ask the guest's QEMU, too, on its QMP socket"),
    ]
}

/// Examines a guest; faults, other than warnings, make it fail.
pub(super) fn run(dir: &VirtDir, name: &str, matches: &ArgMatches) -> Result<Exit, Error> {
    let guest = GuestName::new(name)
        .map_err(|error| Error::usage(format!("cannot examine guest '{name}'")).because(error))?;
    let version = format!("trace-cmd {}", env!("CARGO_PKG_VERSION"));
    let mut doctor = Doctor::new(dir.clone(), guest, version);
    if let Some(socket) = matches.get_one::<String>("qmp") {
        doctor = doctor.with_qmp(socket);
    }
    let faults = doctor.examine();
    let mut out = output::stdout();
    if matches.get_flag("json") {
        writeln!(out, "{}", json(name, &faults))?;
    } else {
        let is_unknown = faults.iter().any(|fault| matches!(fault, Fault::NoDirectory { .. }));
        let near = if is_unknown { did_you_mean_guest(dir, name) } else { None };
        out.write_all(text(name, &faults, near.as_deref()).as_bytes())?;
    }
    out.flush()?;
    Ok(if faults.iter().all(Fault::is_warning) { Exit::Success } else { Exit::Guest })
}

fn text(name: &str, faults: &[Fault], near: Option<&str>) -> String {
    let mut text = String::new();
    for fault in faults {
        let kind = if fault.is_warning() { "note" } else { "fault" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{kind}: {fault}\n  {}", fault.advice());
    }
    let count = faults.iter().filter(|fault| !fault.is_warning()).count();
    let _ = match count {
        0 => writeln!(text, "guest {name} can be recorded"),
        1 => writeln!(text, "guest {name} cannot be recorded: 1 fault"),
        count => writeln!(text, "guest {name} cannot be recorded: {count} faults"),
    };
    if let Some(near) = near {
        let _ = writeln!(text, "{near}");
    }
    text
}

fn json(name: &str, faults: &[Fault]) -> Json {
    let of_fault = |fault: &Fault| {
        Json::object([
            ("id", Json::from(fault.id())),
            ("warning", Json::Bool(fault.is_warning())),
            ("text", fault.to_string().into()),
            ("advice", fault.advice().into()),
        ])
    };
    Json::object([
        ("guest", Json::from(name)),
        ("recordable", Json::Bool(faults.iter().all(Fault::is_warning))),
        ("faults", faults.iter().map(of_fault).collect()),
    ])
}
