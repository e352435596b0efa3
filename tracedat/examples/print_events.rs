//! Prints the events of a trace, oldest first: `cargo run --example print_events trace.dat`.

use std::error::Error;

use tracedat::MissedEvents;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: print_events FILE")?;
    let tracedat::Reader { metadata, mut records } = tracedat::Reader::open(path)?;
    while let Some(record) = records.next()? {
        if record.missed != MissedEvents::None {
            println!("CPU {}: events were lost here ({:?})", record.cpu, record.missed);
        }
        match metadata.event(&record) {
            Ok(event) => println!("{} ns, CPU {}: {event}", record.time, record.cpu),
            Err(unknown) => println!("{} ns, CPU {}: {unknown}", record.time, record.cpu),
        }
    }
    for warning in metadata.warnings().iter().chain(records.warnings()) {
        eprintln!("{warning}");
    }
    Ok(())
}
