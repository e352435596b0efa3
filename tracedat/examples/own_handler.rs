//! A report with a handler of one's own: `cargo run --example own_handler trace.dat` tells of each
//! switch of tasks how many its CPU had so far.

use std::collections::HashMap;
use std::error::Error;

use tracedat::plugin::{Binding, HandledRecord, Handler, Observer, Order, Registration};
use tracedat::read::{Merge, Reader};
use tracedat::report::{Report, ReportInput, ReportOptions};

/// Prints the event's own text and the number that the observer left.
struct NumberedSwitch;

impl Handler for NumberedSwitch {
    fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
        record.print_fmt(out);
        out.extend_from_slice(format!(" (switch {} of this CPU)", record.note).as_bytes());
    }

    fn observer(&self) -> Option<Box<dyn Observer>> {
        Some(Box::new(Counter(HashMap::new())))
    }
}

/// Sees the switches in order.
struct Counter(HashMap<u32, u32>);

impl Observer for Counter {
    fn observe(&mut self, record: &mut dyn Order) -> u32 {
        let count = self.0.entry(record.cpu()).or_default();
        *count = count.saturating_add(1);
        *count
    }
}

fn bind(_: &Binding<'_>) -> Option<Box<dyn Handler>> {
    Some(Box::new(NumberedSwitch))
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: own_handler FILE")?;
    let (files, mut records) = Merge::new(vec![Reader::open(&path)?]);
    let inputs = [ReportInput { name: &path, metadata: &files[0] }];
    let mut report = Report::new(ReportOptions::default());
    report.registry_mut().register(Registration { system: "sched", event: "sched_switch", bind });
    report.print(&inputs, &mut records, &mut std::io::stdout())?;
    Ok(())
}
