//! What is said at the end: where the data went on standard output, what was lost on standard error.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use trace_virt::host::{ExecStatus, SessionEnd};
use tracedat::write::Placement;
use tracefs::CpuLedger;
use tracefs::recorder::SinkError;

use super::date::WallTime;
use super::guests::{Exec, FinishedGuest, GuestCpu, LostGuest};
use super::local::RecordedBuffer;
use super::remote::Delivery;
use crate::command::tracing_plan::MachinePlan;
use crate::error::Error;
use crate::json::Json;
use crate::output;
use crate::output::tell;

/// Passes output of a guest's command on; a terminal that is gone is no reason to end a recording.
pub(crate) fn pass_on(to: &mut dyn Write, bytes: &[u8]) {
    let _ = to.write_all(bytes).and_then(|()| to.flush());
}

/// Says how a recording without an end of its own is ended.
pub(crate) fn how_to_stop() {
    pass_on(&mut std::io::stdout(), b"Hit Ctrl^C to stop recording\n");
}

/// Whether anything that was to be recorded is missing.
pub(crate) fn has_losses(buffers: &[RecordedBuffer]) -> bool {
    let mut cpus = buffers.iter().flat_map(|buffer| &buffer.ledger.cpus);
    cpus.any(|cpu| cpu.stats.lost_events() > 0 || cpu.discarded_bytes > 0 || cpu.error.is_some())
}

/// Why a recording ended early on some CPU, if it did. One disk is full for all of them, so one is
/// named.
pub(crate) fn failure(output: &Path, buffers: &[RecordedBuffer]) -> Option<Error> {
    let mut cpus = buffers.iter().flat_map(|buffer| &buffer.ledger.cpus);
    let cause = cpus.find_map(|cpu| cpu.error.as_ref())?;
    Some(
        Error::failure(format!("not all could be recorded in {}", output.display()))
            .because(in_one_line(cause)),
    )
}

/// Why the recording of a CPU ended early, and what the system said.
pub(crate) fn in_one_line(error: &SinkError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Says how well wall time is known.
pub(crate) fn wall_time(wall_time: WallTime) {
    let text = format!("wall time known to within {} us\n", wall_time.uncertainty);
    pass_on(&mut std::io::stdout(), text.as_bytes());
}

/// Says which tracers run.
pub(crate) fn tracers(plan: &MachinePlan) {
    for (_, instance) in plan.all() {
        if let Some(tracer) = &instance.tracer {
            pass_on(&mut std::io::stdout(), format!("  plugin '{tracer}'\n").as_bytes());
        }
    }
}

/// Prints what was recorded, and what became of it, as one JSON object.
pub(crate) fn print_json(
    output: &Path,
    buffers: &[RecordedBuffer],
    placements: &[Placement],
    overwritten: u64,
    guests: &[Result<FinishedGuest, LostGuest>],
    delivery: Option<&Delivery>,
) -> Result<(), Error> {
    let of_guest = |guest: &Result<FinishedGuest, LostGuest>| match guest {
        Ok(guest) => json_of_guest(guest),
        Err(LostGuest { name, error }) => {
            Json::object([("name", Json::from(name.as_str())), ("error", error.to_string().into())])
        }
    };
    let object = Json::object([
        ("output", Json::from(output.display().to_string())),
        ("buffers", json(buffers, placements)),
        ("overwritten_bytes", overwritten.into()),
        ("guests", guests.iter().map(of_guest).collect()),
        ("delivery", delivery.map(Delivery::json).into()),
    ]);
    let mut out = output::stdout();
    writeln!(out, "{object}")?;
    Ok(out.flush()?)
}

/// What became of the data of this machine, by instance and CPU.
fn json(buffers: &[RecordedBuffer], placements: &[Placement]) -> Json {
    let of_buffer = |buffer: &RecordedBuffer| {
        let name = buffer.name.as_deref();
        let of_cpu = |cpu: &CpuLedger| {
            let place = placements
                .iter()
                .find(|place| place.cpu == cpu.cpu && place.buffer == name.unwrap_or_default());
            Json::object([
                ("cpu", Json::from(u64::from(cpu.cpu))),
                ("bytes", cpu.bytes.into()),
                ("lost_events", cpu.stats.lost_events().into()),
                ("overrun", cpu.stats.overrun.into()),
                ("commit_overrun", cpu.stats.commit_overrun.into()),
                ("dropped_events", cpu.stats.dropped_events.into()),
                ("discarded_bytes", cpu.discarded_bytes.into()),
                ("stalls", cpu.stalls.count.into()),
                ("longest_stall_ms", milliseconds(cpu.stalls.longest).into()),
                ("error", cpu.error.as_ref().map(in_one_line).into()),
                ("offset", place.map(|place| place.offset).into()),
                ("size_on_disk", place.map(|place| place.size_on_disk).into()),
                ("size", place.map(|place| place.size).into()),
            ])
        };
        let cpus: Json = buffer.ledger.cpus.iter().map(of_cpu).collect();
        Json::object([("instance", Json::from(name)), ("cpus", cpus)])
    };
    buffers.iter().map(of_buffer).collect()
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What a guest brought.
fn json_of_guest(guest: &FinishedGuest) -> Json {
    let of_cpu = |cpu: &GuestCpu| {
        let is_its_own = |place: &&Placement| place.buffer.is_empty() && place.cpu == cpu.cpu;
        let place = guest.placements.iter().find(is_its_own);
        Json::object([
            ("cpu", Json::from(u64::from(cpu.cpu))),
            ("offset", place.map(|place| place.offset).into()),
            ("size_on_disk", place.map(|place| place.size_on_disk).into()),
            ("size", place.map(|place| place.size).into()),
            ("discarded_bytes", cpu.discarded.into()),
            ("missing_bytes", cpu.missing.into()),
        ])
    };
    let of_instance = |place: &Placement| {
        Json::object([
            ("instance", Json::from(place.buffer.as_str())),
            ("cpu", u64::from(place.cpu).into()),
            ("offset", place.offset.into()),
            ("size_on_disk", place.size_on_disk.into()),
            ("size", place.size.into()),
        ])
    };
    let instances = guest.placements.iter().filter(|place| !place.buffer.is_empty());
    let microseconds = |time: u128| u64::try_from(time).unwrap_or(u64::MAX);
    Json::object([
        ("name", Json::from(guest.name.as_str())),
        ("output", guest.path.as_ref().map(|path| path.display().to_string()).into()),
        ("end", end(guest).into()),
        ("asked_us", microseconds(guest.started.asked).into()),
        ("ready_us", microseconds(guest.started.ready).into()),
        ("told_us", guest.started.told.map(microseconds).into()),
        ("tracing_on", guest.started.tracing_on.into()),
        ("lost_events", guest.lost_events.into()),
        ("discarded_bytes", guest.discarded_bytes().into()),
        ("missing_bytes", guest.missing_bytes().into()),
        ("clock_samples", (guest.samples.len() as u64).into()),
        ("clock_error", guest.clock_error.into()),
        ("problems", guest.problems.iter().map(String::as_str).collect()),
        ("cpus", guest.cpus.iter().map(of_cpu).collect()),
        ("instances", instances.map(of_instance).collect()),
    ])
}

/// How its recording ended, in one word.
fn end(guest: &FinishedGuest) -> &'static str {
    match guest.end {
        SessionEnd::Complete => "complete",
        SessionEnd::Silent => "silent",
        _ => "gone",
    }
}

/// Says where each CPU's data lies.
pub(crate) fn placements(placements: &[Placement], compressed: bool) -> Result<(), Error> {
    let mut out = output::stdout();
    if placements.is_empty() {
        writeln!(out, "no events were recorded")?;
    }
    for one in placements {
        writeln!(out, "CPU{} data recorded at offset={:#x}", one.cpu, one.offset)?;
        write!(out, "    {} bytes in size", one.size_on_disk)?;
        if compressed {
            write!(out, " ({} uncompressed)", one.size)?;
        }
        writeln!(out)?;
    }
    Ok(out.flush()?)
}

/// Says what the kernel or the disk lost, of every CPU that lost something.
pub(crate) fn losses(buffers: &[RecordedBuffer]) {
    for buffer in buffers {
        let place = buffer.name.as_deref().map(|name| format!("{name}: ")).unwrap_or_default();
        for cpu in &buffer.ledger.cpus {
            let lost = cpu.stats.lost_events();
            if lost > 0 {
                tell(&format!(
                    "{place}CPU {}: {lost} events lost{}; a larger buffer may help: -b KB",
                    cpu.cpu,
                    held_up(cpu)
                ));
            }
            if cpu.discarded_bytes > 0 {
                tell(&format!(
                    "{place}CPU {}: {} bytes could not be written",
                    cpu.cpu, cpu.discarded_bytes
                ));
            }
        }
    }
}

/// What may be why events were lost.
fn held_up(cpu: &CpuLedger) -> String {
    match cpu.stalls.count {
        0 => String::new(),
        count => {
            let longest = milliseconds(cpu.stalls.longest);
            format!(", the recorder was held up {count} times, {longest} ms at most")
        }
    }
}

/// Says what a guest brought, how its command ended, and how well its clock is known.
pub(crate) fn of_guest(guest: &FinishedGuest, quiet: bool) -> Result<(), Error> {
    let name = &guest.name;
    if !quiet {
        let mut out = output::stdout();
        if let Some(path) = &guest.path {
            writeln!(out, "{name}: {} CPUs in {}", guest.cpus.len(), path.display())?;
        }
        if let Some(worst) = guest.clock_error {
            let (times, unit) = (guest.samples.len() + guest.vcpu_samples, guest.unit);
            writeln!(out, "{name}: clock compared {times} times, wrong by {worst} {unit} at most")?;
        }
        if guest.clock_error.is_none() && guest.vcpu_samples > 0 {
            let times = guest.vcpu_samples;
            writeln!(out, "{name}: clock compared {times} times; its agent states no bound")?;
        }
        out.flush()?;
        drop(out);
        let is_compressed = |one: &Placement| one.size_on_disk != one.size;
        placements(&guest.placements, guest.placements.iter().any(is_compressed))?;
    }
    if guest.lost_events > 0 {
        let lost = guest.lost_events;
        tell(&format!(
            "{name}: {lost} events lost; a larger buffer may help: -b KB behind its --dom"
        ));
    }
    let (discarded, missing) = (guest.discarded_bytes(), guest.missing_bytes());
    if discarded > 0 {
        tell(&format!("{name}: {discarded} bytes of its data could not be kept"));
    }
    match missing {
        Some(0) => {}
        Some(bytes) => tell(&format!("{name}: {bytes} bytes of its data are missing")),
        None => {
            let kept = if guest.path.is_some() { "in its file" } else { "printed" };
            tell(&format!("{name}: what it still had at the end is lost; what came is {kept}"));
        }
    }
    if guest.clock_error.is_none() && guest.vcpu_samples == 0 {
        tell(&format!(
            "{name}: its clock could not be compared with this one; stamps are the guest's own"
        ));
    }
    if let Some((times @ 1.., time)) = guest.held {
        tell(&format!(
            "{name}: its command waited {times} times, {:.1} s in all, for data to be taken here",
            time.as_secs_f64()
        ));
    }
    for problem in &guest.problems {
        tell(&format!("{name}: {problem}"));
    }
    match guest.exec {
        Exec::Ended(ExecStatus::Code(0)) | Exec::None => {}
        Exec::Ended(ExecStatus::Code(code)) => {
            tell(&format!("{name}: its command ended with exit code {code}"));
        }
        Exec::Ended(ExecStatus::Signal(signal)) => {
            tell(&format!("{name}: its command was ended by signal {signal}"));
        }
        Exec::Running => tell(&format!("{name}: its command was still running at the end")),
        Exec::Lost => tell(&format!("{name}: went away while its command ran")),
    }
    Ok(())
}
