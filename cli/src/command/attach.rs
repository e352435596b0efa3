//! `trace-cmd attach`: ties the traces of a host and of a guest together afterwards.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tracedat::clock::ClockSample;
use tracedat::link::{Link, LinkError, LinkOptions};
use tracedat::write::WriteError;
use tracedat::{Metadata, Reader};

use super::data_file;
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output;

const AFTER_HELP: &str = "\
OFF is what is to be added to the guest's time stamps: the negative of its tsc-offset, as in
/sys/kernel/debug/kvm/PID-FD/vcpu0/tsc-offset. One -s is for all vCPUs, else there is one for each, in order; without, the clocks are the same.
Both files have to be version 7; 'trace-cmd convert' makes it.
The PIDs are the host's threads that run the vCPUs; they may be left out when only one guest ran.

Examples:
  trace-cmd attach -s 113219846287 trace.dat trace-guest.dat 4211 4212
  trace-cmd report -i trace.dat -i trace-guest.dat";

/// Words and help of `attach`.
pub(crate) fn command() -> Command {
    let path = |name: &'static str, value: &'static str| {
        Arg::new(name).value_name(value).required(true).value_parser(value_parser!(PathBuf))
    };
    Command::new("attach")
        .about("Tie the traces of a host and of a guest together")
        .after_help(AFTER_HELP)
        .arg(
            Arg::new("vcpus")
                .short('c')
                .value_name("VCPUS")
                .value_parser(value_parser!(u32).range(1..))
                .help("How many vCPUs the guest has [default: as its trace tells]"),
        )
        .arg(
            Arg::new("clock")
                .short('s')
                .value_name("OFF[,SCALE[,FRAC[,TS]]]")
                .allow_hyphen_values(true)
                .action(ArgAction::Append)
                .value_parser(clock)
                .help("Offset of a vCPU's clock; its scale, with FRAC bits after the point, from the time TS on"),
        )
        .arg(
            Arg::new("name")
                .long("name")
                .value_name("NAME")
                .help("The guest's name [default: from its file's name]"),
        )
        .arg(path("host", "HOST").help("The host's trace"))
        .arg(path("guest", "GUEST").help("The guest's trace"))
        .arg(
            Arg::new("pid")
                .value_name("PID")
                .action(ArgAction::Append)
                .value_parser(value_parser!(i32).range(1..))
                .help("Threads of the host that run the guest's vCPUs"),
        )
}

/// Runs `attach`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let path = |id: &str| {
        matches.get_one::<PathBuf>(id).ok_or_else(|| Error::usage(format!("no trace of the {id}")))
    };
    let (host, guest) = (path("host")?, path("guest")?);
    let options = LinkOptions {
        name: matches.get_one::<String>("name").cloned().unwrap_or_else(|| name_of(guest)),
        vcpus: matches.get_one("vcpus").copied(),
        clocks: matches.get_many("clock").unwrap_or_default().copied().collect(),
        threads: matches.get_many("pid").unwrap_or_default().copied().collect(),
    };
    let Reader { metadata: host_data, mut records } = data_file::open(host)?;
    let guest_data = data_file::open(guest)?.metadata;
    let link = Link::find(&host_data, &mut records, &guest_data, &options)
        .map_err(|error| explain(host, guest, error))?;
    append(&link, host, guest)?;
    warn(&link, &host_data, &guest_data);
    let mut out = output::stdout();
    for cpu in link.guest.cpus.iter().filter(|cpu| cpu.pid >= 0) {
        writeln!(out, "{}: vCPU {} is thread {}", link.guest.name, cpu.cpu, cpu.pid)?;
    }
    out.flush()?;
    Ok(Exit::Success)
}

/// Adds to both files or to none.
fn append(link: &Link, host: &Path, guest: &Path) -> Result<(), Error> {
    let (host_file, host_len) = open_both_ways(host)?;
    let (guest_file, guest_len) = open_both_ways(guest)?;
    let failed = |error: WriteError| {
        Error::failure(format!("cannot add to {} and {}", host.display(), guest.display()))
            .because(error)
            .hint("make room, or check both with 'trace-cmd dump'")
    };
    match link.append(&host_file, &guest_file) {
        Ok(linked) => linked.commit().map_err(failed),
        Err(error) => {
            // Nothing refers to what is behind the old ends; the error says more than another could.
            let _ = host_file.set_len(host_len);
            let _ = guest_file.set_len(guest_len);
            Err(failed(error))
        }
    }
}

fn open_both_ways(path: &Path) -> Result<(File, u64), Error> {
    let cannot = |error| {
        Error::failure(format!("cannot write {}", path.display()))
            .because(error)
            .hint("attach changes both traces: copy them to where you may write")
    };
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(cannot)?;
    let len = fs::metadata(path).map_err(cannot)?.len();
    Ok((file, len))
}

fn warn(link: &Link, host: &Metadata, guest: &Metadata) {
    if host.trace_clock() != guest.trace_clock() {
        let [host, guest] = [host, guest].map(|data| data.trace_clock().unwrap_or("unknown"));
        output::tell(&format!("the host's clock is {host}, the guest's {guest}"));
    }
    let unknown: Vec<String> = link.unknown_vcpus().map(|cpu| cpu.to_string()).collect();
    if !unknown.is_empty() {
        output::tell(&format!("no thread was found for vCPU {}", unknown.join(", ")));
    }
}

/// `trace-NAME.dat` is what recorders call a guest's trace.
fn name_of(guest: &Path) -> String {
    let stem = guest.file_stem().unwrap_or_default().to_string_lossy();
    match stem.strip_prefix("trace-") {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => stem.into_owned(),
    }
}

fn clock(words: &str) -> Result<ClockSample, String> {
    let mut words = words.split(',');
    let offset = words.next().unwrap_or_default();
    let offset = offset.parse().map_err(|_| format!("{offset:?} is no offset"))?;
    let mut number = |what: &str, default: u64| match words.next() {
        None => Ok(default),
        Some(word) => word.parse().map_err(|_| format!("{word:?} is no {what}")),
    };
    let (scaling, fraction_bits) = (number("scale", 1)?, number("number of bits", 0)?);
    let time = number("time", 0)?;
    if fraction_bits > 63 {
        return Err(format!("{fraction_bits} bits after the point, at most 63"));
    }
    match words.next() {
        Some(word) => Err(format!("{word:?} is too much")),
        None => Ok(ClockSample { time, offset, scaling, fraction_bits }),
    }
}

fn explain(host: &Path, guest: &Path, error: LinkError) -> Error {
    let hint = match &error {
        LinkError::Version { .. } => "make version 7 of it with 'trace-cmd convert'",
        LinkError::NoTraceId { .. } => "record it with a newer trace-cmd",
        LinkError::SameTrace => "name the host's trace, then the guest's",
        LinkError::Linked { .. } => "see 'trace-cmd dump --options'",
        LinkError::NoTscToNsec => "record the host with -C tsc2nsec",
        LinkError::VcpuCount { .. } => "give their number with -c",
        LinkError::ClockCount { .. } => "give one -s for all, or one for each",
        LinkError::NoVcpus { .. } => "record the host with -e kvm, and name the guest's threads",
        LinkError::TwoThreads { .. } => "name the threads of one guest",
        LinkError::NoSuchVcpu { .. } => "name the guest's threads only, or give more with -c",
        _ => "see 'trace-cmd attach --help'",
    };
    match error {
        LinkError::Read(cause) => data_file::cannot_read(host, cause),
        error => Error::failure(format!("cannot attach {} to {}", guest.display(), host.display()))
            .because(error)
            .hint(hint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_offset_scale_bits_and_time() {
        let sample = |offset, scaling, fraction_bits, time| {
            Ok(ClockSample { time, offset, scaling, fraction_bits })
        };
        assert_eq!(clock("-5"), sample(-5, 1, 0, 0));
        assert_eq!(clock("7,4294967296,32,9"), sample(7, 4_294_967_296, 32, 9));
        assert!(clock("").is_err() && clock("1,x").is_err() && clock("1,1,64").is_err());
        assert!(clock("1,2,3,4,5").is_err());
    }

    #[test]
    fn guests_are_named_after_their_files() {
        assert_eq!(name_of(Path::new("/a/trace-vm1.dat")), "vm1");
        assert_eq!(name_of(Path::new("guest.dat")), "guest");
        assert_eq!(name_of(Path::new("trace-.dat")), "trace-");
    }
}
