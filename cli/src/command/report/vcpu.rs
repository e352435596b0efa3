//! `report --vcpu`: what became of the time of guests' CPUs, from the file of their host.

use std::io::Write;

use tracedat::metadata::Metadata;
use tracedat::read::Merge;
use tracedat::report::{Report, ReportInput};
use tracedat::vcpu::{self, Preemption, Unit, VcpuTimes, VcpuUse};

use super::args::ReportArgs;
use crate::error::Error;
use crate::exit_code::Exit;
use crate::json::Json;

/// Events that tell most.
const HINT: &str = "record the host with -e kvm -e sched, together with --dom, or tie files together with 'trace-cmd attach'";

/// Prints what the host's records tell that were selected.
pub(super) fn print(
    args: &ReportArgs,
    report: &Report,
    inputs: &[ReportInput<'_>],
    records: &mut Merge,
    out: &mut dyn Write,
) -> Result<Exit, Error> {
    let host = host(inputs);
    let Some(input) = inputs.get(host) else { return Ok(Exit::Success) };
    let mut times = VcpuTimes::new(input.metadata);
    let read = report.visit(inputs, records, |file, record| {
        if file == host {
            times.add(record);
        }
    });
    let uses = times.finish();
    if uses.is_empty() {
        return Err(Error::failure(format!("{} tells of no CPU of a guest", input.name)).hint(HINT));
    }
    if args.json.is_some() {
        for vcpu in &uses {
            writeln!(out, "{}", json(vcpu))?;
        }
    } else {
        let time = |time| String::from_utf8_lossy(&report.time(input.metadata, time)).into_owned();
        let unit = match report.options().is_in_nanoseconds(input.metadata) {
            true => Unit::Nanoseconds,
            false => Unit::Ticks,
        };
        vcpu::print(&uses, unit, &time, out)?;
    }
    read.map_err(|cause| Error::new(Exit::BadData, "cannot read on").because(cause))?;
    Ok(Exit::Success)
}

/// The file that names guests; without one, the first.
fn host(inputs: &[ReportInput<'_>]) -> usize {
    let names_guests = |metadata: &Metadata| !metadata.guests().is_empty();
    inputs.iter().position(|input| names_guests(input.metadata)).unwrap_or(0)
}

fn json(vcpu: &VcpuUse) -> Json {
    let times = &vcpu.times;
    let exit = |(reason, time, count): &(String, u64, u64)| {
        Json::object([
            ("reason", reason.as_str().into()),
            ("time", (*time).into()),
            ("count", (*count).into()),
        ])
    };
    let preemption = |preemption: &Preemption| {
        let (pid, comm) = preemption.by;
        Json::object([
            ("start", preemption.start.into()),
            ("time", preemption.duration.into()),
            ("woken", preemption.woken.into()),
            ("pid", pid_of(pid)),
            ("comm", comm.to_string().into()),
        ])
    };
    let by = |(pid, comm, time): &(i32, vcpu::Comm, u64)| {
        Json::object([
            ("pid", pid_of(*pid)),
            ("comm", comm.to_string().into()),
            ("time", (*time).into()),
        ])
    };
    let guest = (!vcpu.guest.is_empty()).then(|| vcpu.guest.clone());
    Json::object([
        ("guest", guest.into()),
        ("vcpu", u64::from(vcpu.cpu).into()),
        ("thread", pid_of(vcpu.thread)),
        ("time", times.total().into()),
        ("in_guest", times.in_guest.into()),
        ("in_host", times.in_host.into()),
        ("preempted", times.preempted.into()),
        ("preemptions", times.preemptions.into()),
        ("woken", times.woken.into()),
        ("wakeups", times.wakeups.into()),
        ("halted", times.halted.into()),
        ("blocked", times.blocked.into()),
        ("unknown", times.unknown.into()),
        ("exits", vcpu.exits.iter().map(exit).collect()),
        ("preempted_by", vcpu.preempted_by.iter().map(by).collect()),
        ("longest", vcpu.longest.iter().map(preemption).collect()),
    ])
}

/// A process id; `null` where it is not known.
fn pid_of(pid: i32) -> Json {
    u64::try_from(pid).ok().into()
}
