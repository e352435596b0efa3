//! What is said at the end: where the data went on standard output, what was lost on standard error.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use trace_virt::host::ExecStatus;
use tracedat::write::Placement;
use tracefs::CpuLedger;
use tracefs::recorder::SinkError;

use super::date::WallTime;
use super::guests::{Exec, FinishedGuest};
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
    guests: &[Result<FinishedGuest, Error>],
    delivery: Option<&Delivery>,
) -> Result<(), Error> {
    let of_guest = |guest: &Result<FinishedGuest, Error>| match guest {
        Ok(guest) => json_of_guest(guest),
        Err(error) => Json::object([("error", Json::from(error.to_string()))]),
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
    let of_cpu = |place: &Placement| {
        Json::object([
            ("cpu", Json::from(u64::from(place.cpu))),
            ("offset", place.offset.into()),
            ("size_on_disk", place.size_on_disk.into()),
            ("size", place.size.into()),
        ])
    };
    Json::object([
        ("name", Json::from(guest.name.as_str())),
        ("output", guest.path.display().to_string().into()),
        ("missing_bytes", guest.missing_bytes.into()),
        ("clock_samples", (guest.samples.len() as u64).into()),
        ("problems", guest.problems.iter().map(ToString::to_string).collect()),
        ("cpus", guest.placements.iter().map(of_cpu).collect()),
    ])
}

/// Says where each CPU's data lies.
pub(crate) fn placements(placements: &[Placement], compressed: bool) -> Result<(), Error> {
    let mut out = output::stdout();
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
        writeln!(out, "{name}: {} CPUs in {}", guest.cpus, guest.path.display())?;
        if let Some(worst) = guest.samples.iter().map(|sample| sample.error).max() {
            let (times, unit) = (guest.samples.len(), guest.unit);
            writeln!(out, "{name}: clock compared {times} times, wrong by {worst} {unit} at most")?;
        }
        if guest.vcpu_samples > 0 {
            let times = guest.vcpu_samples;
            writeln!(out, "{name}: clock compared {times} times; its agent states no bound")?;
        }
        out.flush()?;
        drop(out);
        placements(&guest.placements, true)?;
    }
    if guest.missing_bytes > 0 {
        tell(&format!("{name}: {} bytes of its data are missing", guest.missing_bytes));
    }
    if guest.samples.is_empty() && guest.vcpu_samples == 0 {
        tell(&format!(
            "{name}: its clock could not be compared with this one; stamps are the guest's own"
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
