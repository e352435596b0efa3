//! Prints the events of a trace, oldest first: `cargo run --example print_events trace.dat`.

use std::error::Error;
use std::io::Write;

use tracedat::MissedEvents;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: print_events FILE")?;
    let tracedat::Reader { metadata, mut records } = tracedat::Reader::open(path)?;
    let mut out = std::io::stdout().lock();
    while let Some(record) = records.next()? {
        if record.missed != MissedEvents::None {
            writeln!(out, "CPU {}: events were lost here ({:?})", record.cpu, record.missed)?;
        }
        match metadata.event(&record) {
            Ok(event) => writeln!(out, "{} ns, CPU {}: {event}", record.time, record.cpu)?,
            Err(unknown) => writeln!(out, "{} ns, CPU {}: {unknown}", record.time, record.cpu)?,
        }
    }
    for warning in metadata.warnings().iter().chain(records.warnings()) {
        eprintln!("{warning}");
    }
    Ok(())
}
