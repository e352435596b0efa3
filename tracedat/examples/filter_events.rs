//! Prints the events that a filter lets through, as `trace-cmd report -F` does:
//! `cargo run --example filter_events trace.dat 'sched_switch: prev_pid == 0'`.

use std::error::Error;

use tracedat::filter::Filter;
use tracedat::read::{Merge, Reader};
use tracedat::report::{Report, ReportFilter, ReportInput, ReportOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(path), Some(text)) = (words.next(), words.next()) else {
        return Err("usage: filter_events FILE FILTER".into());
    };
    let (files, mut records) = Merge::new(vec![Reader::open(&path)?]);
    let inputs = [ReportInput { name: &path, metadata: &files[0] }];
    let filter = Filter::parse(&text)?;
    if !filter.names_any(&files[0]) {
        eprintln!("no event of {path} is meant by '{text}'");
    }
    let mut options = ReportOptions::default();
    options.filters.push(ReportFilter { filter, hides: false, input: None });
    Report::new(options).print(&inputs, &mut records, &mut std::io::stdout())?;
    Ok(())
}
