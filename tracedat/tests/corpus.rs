//! Reads the shared corpus of traces where it is at hand: every record once, in order of time.
//!
//! It is looked for in `TRACE_CORPUS`, then next to the workspace in `../shared/corpus`.

use std::path::PathBuf;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tracedat::Reader;

/// Files with records, and how many the report of trace-cmd 3.1.6 shows of each.
const RECORDS: [(&str, u64); 20] = [
    ("all-short", 2996),
    ("be32-sched", 102),
    ("be64", 408),
    ("buffers", 411),
    ("clk-counter", 175),
    ("clk-tsc", 351),
    ("conv7", 3437),
    ("date", 381),
    ("extract", 344),
    ("le64-page64k", 408),
    ("marker", 30),
    ("mask", 155),
    ("net2", 108),
    ("syscalls", 2515),
    ("tp-arm32-hmp", 45254),
    ("tp-i686-function", 12527),
    ("uprobe-v6", 94),
    ("v6", 3437),
    ("v7-none", 2748),
    ("zlib34", 3107),
];

fn main() -> ExitCode {
    let corpus = std::env::var_os("TRACE_CORPUS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpus")),
        PathBuf::from,
    );
    let absent = !corpus.join("data").is_dir();
    let trials = RECORDS.iter().map(|&(name, records)| {
        let path = corpus.join("data").join(name).with_extension("dat");
        Trial::ignorable_test(name, move || {
            if absent {
                let why = "no corpus beside the workspace, none in TRACE_CORPUS";
                return Ok(Completion::ignored_with(why));
            }
            read(&path, records).map(|()| Completion::Completed)
        })
    });
    let trials = trials.collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn read(path: &PathBuf, expected: u64) -> Result<(), Failed> {
    let Reader { metadata, mut records } = Reader::open(path)?;
    let (mut count, mut last) = (0, 0);
    while let Some(record) = records.next()? {
        if record.time < last {
            return Err(format!("time goes back from {last} to {}", record.time).into());
        }
        last = record.time;
        count += 1;
    }
    if count != expected {
        return Err(format!("{count} records instead of {expected}").into());
    }
    let warnings = [metadata.warnings(), records.warnings().to_vec()].concat();
    match warnings.first() {
        Some(warning) => Err(format!("{warning}").into()),
        None => Ok(()),
    }
}
