//! What is said at the end: where the data went on standard output, what was lost on standard error.

use std::error::Error as _;
use std::io::Write;

use trace_virt::host::ExecStatus;
use tracedat::write::Placement;

use super::guests::{Exec, FinishedGuest};
use super::local::RecordedBuffer;
use crate::error::Error;
use crate::output;
use crate::output::tell;

/// Passes output of a guest's command on; a terminal that is gone is no reason to end a recording.
pub(crate) fn pass_on(to: &mut dyn Write, bytes: &[u8]) {
    let _ = to.write_all(bytes).and_then(|()| to.flush());
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
                    "{place}CPU {}: {lost} events lost; a larger buffer may help: -b KB",
                    cpu.cpu
                ));
            }
            if cpu.discarded_bytes > 0 {
                tell(&format!(
                    "{place}CPU {}: {} bytes could not be written",
                    cpu.cpu, cpu.discarded_bytes
                ));
            }
            if let Some(error) = &cpu.error {
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                tell(&format!("{place}{error}{cause}"));
            }
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
        out.flush()?;
        drop(out);
        placements(&guest.placements, true)?;
    }
    if guest.missing_bytes > 0 {
        tell(&format!("{name}: {} bytes of its data are missing", guest.missing_bytes));
    }
    if guest.samples.is_empty() {
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
