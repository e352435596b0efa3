//! Reads the shared corpus of traces where it is at hand: every record once, in order of time.
//!
//! It is looked for in `TRACE_CORPUS`, then next to the workspace in `../shared/corpus`.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tracedat::Reader;
use tracedat::compress::Codec;
use tracedat::convert::convert;
use tracedat::layout::OptionId;
use tracedat::testing::Contents;
use tracedat::write::Version;

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
    let mut trials: Vec<Trial> = trials.collect();
    let data = corpus.join("data");
    trials.push(Trial::ignorable_test("read_and_written_again", move || {
        if absent {
            return Ok(Completion::ignored_with(
                "no corpus beside the workspace, none in TRACE_CORPUS",
            ));
        }
        read_write_read(&data).map(|()| Completion::Completed)
    }));
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

/// Every file that is not damaged on purpose is the same after it was written again in each format.
fn read_write_read(data: &Path) -> Result<(), Failed> {
    let (mut files, mut differences) = (0, Vec::new());
    for entry in std::fs::read_dir(data)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("bad-") || path.extension().is_none_or(|extension| extension != "dat") {
            continue;
        }
        let metadata = Reader::open(&path)?.metadata;
        let before = Contents::of(Reader::open(&path)?)?;
        for (version, codec) in
            [(Version::V6, Codec::None), (Version::V7, Codec::None), (Version::V7, Codec::Zstd)]
        {
            let mut output = Cursor::new(Vec::new());
            convert(&metadata, &mut output, version, codec)
                .map_err(|error| format!("{name} {version:?} {codec}: {error}"))?;
            let mut after = Contents::of(Reader::parse(output.into_inner())?)?;
            // Version 6 tells a clock only together with this option.
            if !before.options.iter().any(|(id, _)| *id == OptionId::TRACE_CLOCK) {
                after.options.retain(|(id, _)| *id != OptionId::TRACE_CLOCK);
            }
            let difference = before.difference(&after);
            differences.extend(difference.map(|it| format!("{name} {version:?} {codec}: {it}")));
        }
        files += 1;
    }
    if !differences.is_empty() {
        return Err(differences.join("\n").into());
    }
    if files < RECORDS.len() {
        return Err(format!("only {files} files in {}", data.display()).into());
    }
    Ok(())
}
