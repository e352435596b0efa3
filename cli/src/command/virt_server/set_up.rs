//! `virt-server --dom`: directory and FIFOs of guests, and what their VMs need, printed or applied.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches};
use trace_virt::host;
use trace_virt::libvirt::{AttachReport, Libvirt, LibvirtError, Live};
use trace_virt::qmp::{Qmp, QmpError};
use trace_virt::setup::{
    GuestName, HotplugError, HotplugReport, SetupError, SetupOptions, SetupReport, VirtDir,
};

use crate::error::Error;
use crate::exit_code::Exit;
use crate::output;

/// How long QEMU gets for each step.
const QMP_TIME: Duration = Duration::from_secs(30);

/// The options of the set-up.
pub(super) fn args() -> Vec<Arg> {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help).requires("dom")
    };
    vec![
        Arg::new("dom")
            .long("dom")
            .value_name("GUEST")
            .action(ArgAction::Append)
            .help("Set up the guest of this name; repeat it for more, each with the -c, -g and -p behind it"),
        cpus().action(ArgAction::Append).requires("dom"),
        group().action(ArgAction::Append),
        permission().action(ArgAction::Append).requires("dom"),
        flag("qemu", "Print only the arguments for QEMU"),
        flag("libvirt", "Print only the XML for libvirt").conflicts_with("qemu"),
        flag("attach", "Add the channels to the libvirt domain of this name")
            .conflicts_with_all(["qemu", "libvirt"]),
        Arg::new("hotplug")
            .long("hotplug")
            .value_name("QMP-SOCKET")
            .requires("dom")
            .conflicts_with_all(["qemu", "libvirt", "attach"])
            .help("Add the ports to the running VM whose QEMU listens there"),
        flag("remove", "Remove the guest's FIFOs and directory")
            .conflicts_with_all(["qemu", "libvirt", "attach", "hotplug", "cpus"]),
    ]
}

pub(in crate::command) fn cpus() -> Arg {
    Arg::new("cpus")
        .short('c')
        .value_name("CPUS")
        .value_parser(clap::value_parser!(u32).range(1..=4096))
        .help("CPUs of the guest [default: as set up before; with --attach and --hotplug those of the VM]")
}

pub(in crate::command) fn group() -> Arg {
    Arg::new("group")
        .short('g')
        .value_name("GROUP")
        .help("Group of directory, FIFOs and sockets: the one QEMU runs in")
}

pub(in crate::command) fn permission() -> Arg {
    Arg::new("permission")
        .short('p')
        .value_name("OCTAL")
        .value_parser(|text: &str| match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o777 => Ok(mode),
            _ => Err("not an octal mode such as 0660"),
        })
        .help("Mode of the FIFOs [default: 0660]")
}

/// One guest to set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::command) struct Request {
    pub(in crate::command) name: String,
    pub(in crate::command) cpus: Option<u32>,
    pub(in crate::command) mode: Option<u32>,
    pub(in crate::command) group: Option<String>,
}

/// What becomes of what the VM needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::command) enum Means {
    /// Printed for both.
    Print,
    /// Printed for QEMU.
    Qemu,
    /// Printed for libvirt.
    Libvirt,
    /// Added to the domain.
    Attach,
    /// Added to the running VM.
    Hotplug(PathBuf),
}

/// Sets guests up, or removes them.
pub(super) fn run(dir: &VirtDir, matches: &ArgMatches) -> Result<Exit, Error> {
    let requests = requests(matches);
    if matches.get_flag("remove") {
        for request in &requests {
            remove(dir, &request.name)?;
        }
        return Ok(Exit::Success);
    }
    let means = match matches.get_one::<String>("hotplug") {
        Some(socket) => Means::Hotplug(socket.into()),
        None if matches.get_flag("attach") => Means::Attach,
        None if matches.get_flag("qemu") => Means::Qemu,
        None if matches.get_flag("libvirt") => Means::Libvirt,
        None => Means::Print,
    };
    if requests.len() > 1 && matches!(means, Means::Qemu | Means::Libvirt | Means::Hotplug(_)) {
        return Err(Error::usage("--qemu, --libvirt and --hotplug are for one VM")
            .hint("give one --dom with them"));
    }
    for request in &requests {
        set_up(dir, request, &means)?;
    }
    Ok(Exit::Success)
}

/// The guests with the options behind each; what stands before the first is for all.
fn requests(matches: &ArgMatches) -> Vec<Request> {
    let doms: Vec<_> = indexed::<String>(matches, "dom");
    let requests = doms.iter().enumerate().map(|(at, (start, name))| {
        let end = doms.get(at + 1).map_or(usize::MAX, |&(index, _)| index);
        let first = doms.first().map_or(0, |&(index, _)| index);
        Request {
            name: name.clone(),
            cpus: last_in(&indexed(matches, "cpus"), first, *start, end),
            mode: last_in(&indexed(matches, "permission"), first, *start, end),
            group: last_in(&indexed(matches, "group"), first, *start, end),
        }
    });
    requests.collect()
}

fn indexed<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, id: &str) -> Vec<(usize, T)> {
    let values = matches.get_many::<T>(id).into_iter().flatten().cloned();
    matches.indices_of(id).into_iter().flatten().zip(values).collect()
}

fn last_in<T: Clone>(values: &[(usize, T)], first: usize, start: usize, end: usize) -> Option<T> {
    let own = values.iter().rfind(|(index, _)| (start..end).contains(index));
    own.or_else(|| values.iter().rfind(|(index, _)| *index < first)).map(|(_, value)| value.clone())
}

fn remove(dir: &VirtDir, name: &str) -> Result<(), Error> {
    let failed =
        |error: SetupError| Error::failure(format!("cannot remove guest '{name}'")).because(error);
    let guest = GuestName::new(name).map_err(failed)?;
    let connected = host::list(dir).is_ok_and(|guests| guests.iter().any(|it| it.name == name));
    if connected {
        return Err(Error::failure(format!(
            "cannot remove guest '{name}': its VM is connected to the virt-server"
        ))
        .hint("shut it down first"));
    }
    dir.remove(&guest).map_err(|error| match error {
        SetupError::InUse { .. } => failed(error).hint("shut it down first"),
        error => failed(error),
    })?;
    writeln!(output::stdout(), "removed guest {name} from {}", dir.path().display())?;
    Ok(())
}

/// Makes what the guest needs on the host, and prints or applies what its VM needs.
pub(in crate::command) fn set_up(
    dir: &VirtDir,
    request: &Request,
    means: &Means,
) -> Result<(), Error> {
    let name = &request.name;
    let cannot = || Error::failure(format!("cannot set up guest '{name}'"));
    let failed = |error: SetupError| cannot().because(error);
    let guest = GuestName::new(name).map_err(failed)?;
    let mut qmp = match means {
        Means::Hotplug(socket) => {
            Some(Qmp::connect(socket, QMP_TIME).map_err(|error| cannot().because(error))?)
        }
        _ => None,
    };
    let cpus = match (request.cpus, means, &mut qmp) {
        (Some(cpus), ..) => cpus,
        (None, Means::Attach, _) => {
            Libvirt::default().cpus(&guest).map_err(|error| of_libvirt(cannot(), error))?
        }
        (None, _, Some(qmp)) => count(qmp).map_err(|error| cannot().because(error))?,
        (None, ..) => match dir.cpus(&guest).unwrap_or(0) {
            0 => {
                return Err(Error::usage(format!("how many CPUs has guest '{name}'?"))
                    .hint(format!("say so: trace-cmd virt-server --dom {name} -c CPUS")));
            }
            known => known,
        },
    };
    let options = SetupOptions { cpus, mode: request.mode, group: request.group.clone() };
    let report = dir.setup(&guest, &options).map_err(failed)?;

    let mut text = String::new();
    if !matches!(means, Means::Qemu | Means::Libvirt) {
        text = made(dir, &guest, cpus, &report);
    }
    if *means == Means::Print {
        // The name is how the server knows the guest; those of its threads tell which of them are its CPUs.
        let _ = write!(text, "\nQEMU arguments, beside -name guest={name},debug-threads=on:\n\n");
    }
    if matches!(means, Means::Print | Means::Qemu) {
        for option in dir.qemu_args(&guest, cpus).map_err(failed)?.chunks(2) {
            let _ = writeln!(text, "{}", option.join(" "));
        }
    }
    if *means == Means::Print {
        text.push_str("\nlibvirt, inside <devices>:\n\n");
    }
    if matches!(means, Means::Print | Means::Libvirt) {
        text.push_str(&dir.libvirt_xml(&guest, cpus).map_err(failed)?);
    }
    if *means == Means::Attach {
        let report = Libvirt::default()
            .attach(dir, &guest, cpus)
            .map_err(|error| of_libvirt(cannot(), error))?;
        text.push_str(&attached(name, &report));
    }
    if let Some(qmp) = &mut qmp {
        let report = dir.hotplug(&guest, cpus, qmp).map_err(|error| of_hotplug(cannot(), error))?;
        text.push_str(&plugged(name, &report));
    }
    let mut out = output::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

fn count(qmp: &mut Qmp) -> Result<u32, QmpError> {
    Ok(qmp.cpus()?.len().try_into().unwrap_or(u32::MAX))
}

fn made(dir: &VirtDir, guest: &GuestName, cpus: u32, report: &SetupReport) -> String {
    format!(
        "guest {guest}: {cpus} CPUs in {} ({} files made, {} there before)\n",
        dir.guest_dir(guest).display(),
        report.created.len(),
        report.existing.len()
    )
}

fn attached(name: &str, report: &AttachReport) -> String {
    let (added, existing) = (report.added.len(), report.existing.len());
    let live = match &report.live {
        Live::NotRunning => "; it has them when it starts".to_owned(),
        Live::Complete(0) => "; it runs with all of them".to_owned(),
        Live::Complete(added) => format!("; it runs, and got {added} at once"),
        Live::AtNextStart(words) => format!(
            "; it runs, and gets them at its next start (libvirt: {words}); \
             '--hotplug' adds them to a VM whose QEMU has a QMP socket of its own"
        ),
    };
    format!("guest {name}: {added} channels added to its domain, {existing} there before{live}\n")
}

fn plugged(name: &str, report: &HotplugReport) -> String {
    let (added, existing) = (report.added.len(), report.existing.len());
    let controllers = match report.controllers.len() {
        0 => String::new(),
        count => format!(" with {count} new controllers"),
    };
    format!(
        "guest {name}: {added} ports added to the running VM{controllers}, {existing} there before\n"
    )
}

fn of_libvirt(cannot: Error, error: LibvirtError) -> Error {
    let hint = match &error {
        LibvirtError::Run { .. } => "is libvirt's virsh installed?",
        LibvirtError::Elsewhere { .. } => {
            "remove that channel ('virsh edit'), or give the --virt-dir it belongs to"
        }
        _ => return cannot.because(error),
    };
    cannot.because(error).hint(hint)
}

fn of_hotplug(cannot: Error, error: HotplugError) -> Error {
    let hint = match &error {
        HotplugError::OtherVm { .. } => "start QEMU with '-name', or give the name it has",
        HotplugError::Elsewhere { .. } => "give the --virt-dir it belongs to",
        HotplugError::NoRoom { .. } => {
            "start the VM with what '--qemu' prints, or with a spare 'pcie-root-port'"
        }
        _ => return cannot.because(error),
    };
    cannot.because(error).hint(hint)
}

/// The directory that the options name.
pub(in crate::command) fn directory(matches: &ArgMatches) -> VirtDir {
    VirtDir::locate(matches.get_one::<String>("virt-dir").map(Path::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &str) -> Vec<Request> {
        let words = words.split_whitespace();
        requests(&super::super::command().try_get_matches_from(words).unwrap())
    }

    #[test]
    fn options_belong_to_the_guest_before_them() {
        let requests = parsed("virt-server -g kvm --dom a -c 2 --dom b -c 4 -p 0600 -g 7 --dom c");
        let of = |name: &str, cpus, mode, group: &str| Request {
            name: name.into(),
            cpus,
            mode,
            group: Some(group.into()),
        };
        assert_eq!(
            requests,
            [
                of("a", Some(2), None, "kvm"),
                of("b", Some(4), Some(0o600), "7"),
                of("c", None, None, "kvm")
            ]
        );
        assert_eq!(parsed("virt-server -c 3 --dom a")[0].cpus, Some(3));
    }
}
