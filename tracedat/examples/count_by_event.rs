//! Counts the records of a trace by event: `cargo run --example count_by_event trace.dat`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: count_by_event FILE")?;
    let tracedat::Reader { metadata, mut records } = tracedat::Reader::open(path)?;
    let mut counts = vec![0_u64; usize::from(u16::MAX) + 1];
    let mut total = 0_u64;
    while let Some(record) = records.next()? {
        let Some(id) = record.data.first_chunk() else { continue };
        counts[usize::from(metadata.abi.byte_order.u16(*id))] += 1;
        total += 1;
    }
    for (id, count) in (0..=u16::MAX).zip(counts).filter(|(_, count)| *count > 0) {
        match metadata.event_by_id(id) {
            Some(event) => println!("{count:>10} {}:{}", event.format.system, event.format.name),
            None => println!("{count:>10} {id}"),
        }
    }
    println!("{total:>10} in all");
    for warning in metadata.warnings().iter().chain(records.warnings()) {
        eprintln!("{warning}");
    }
    Ok(())
}
