//! `restore`: heads and data of CPUs become traces again.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use common::{Case, check, complaint, success, trace_cmd};
use libtest_mimic::Failed;
use tempfile::TempDir;
use trace_virt::lab::requirements::{self, TracefsLock};
use tracedat::testing::{TraceBuilder, Workload};
use tracedat::write::{BufferData, CpuSource, Settings, Writer};

const CASES: &[Case] = &[
    Case { name: "a_head_and_files_of_cpus_are_a_trace", needs: || Ok(()), test: joined },
    Case { name: "what_cannot_be_restored_is_explained", needs: || Ok(()), test: refused },
    Case {
        name: "the_reference_reads_what_was_restored",
        needs: || requirements::reference().map(drop),
        test: read_by_the_reference,
    },
    Case {
        name: "root_the_head_of_this_machine_is_enough",
        needs: || requirements::root().and(requirements::tracefs().map(drop)),
        test: this_machine,
    },
];

fn main() -> ExitCode {
    common::run(CASES)
}

/// A folder with `head.dat`, the files of two CPUs, and `whole.dat` as it should have become.
fn folder() -> Result<TempDir, Failed> {
    let dir = TempDir::new()?;
    let trace = TraceBuilder::new(Workload { events_per_cpu: 300, ..Workload::new(3) });
    let (head, made) = (trace.head(), trace.workload.generate());
    let settings = Settings::new(trace.workload.abi, trace.workload.page_size);
    let create = |name: &str| -> Result<_, Failed> {
        let file = fs::File::create(dir.path().join(name))?;
        Ok(Writer::create(file, settings, &head)?)
    };
    drop(create("head.dat")?);
    let mut cpus = Vec::new();
    let mut readers: Vec<&[u8]> =
        made.buffers[0].cpus.iter().map(|cpu| cpu.bytes.as_slice()).collect();
    for (number, reader) in (0..).zip(&mut readers) {
        fs::write(dir.path().join(format!("trace.dat.cpu{number}")), *reader)?;
        let size = reader.len() as u64;
        cpus.push(CpuSource::from_reader(number, reader, size));
    }
    let page_size = trace.workload.page_size;
    let data = BufferData { name: "", clock: "local", page_size, cpus };
    create("whole.dat")?.finish(&[], vec![data])?;
    Ok(dir)
}

fn restore(dir: &Path, words: &[&str]) -> Command {
    let mut command = trace_cmd();
    command.current_dir(dir).arg("restore").args(words);
    command
}

const WORDS: [&str; 4] = ["-i", "head.dat", "trace.dat.cpu1", "trace.dat.cpu0"];

fn joined() -> Result<(), Failed> {
    let dir = folder()?;
    let dir = dir.path();
    success(&mut restore(dir, &WORDS))?;
    let report = |file| success(trace_cmd().current_dir(dir).args(["report", "-t", "-i", file]));
    let (found, expected) = (report("trace.dat")?, report("whole.dat")?);
    check(expected.lines().count() > 600, || expected.clone())?;
    check(found == expected, || format!("{} lines", found.lines().count()))
}

fn refused() -> Result<(), Failed> {
    let dir = folder()?;
    let dir = dir.path();
    fs::write(dir.join("text"), "no head")?;
    for (words, parts) in [
        (&["-i", "text", "trace.dat.cpu0"][..], &["head of text", "not a trace.dat"][..]),
        (&["-i", "whole.dat", "trace.dat.cpu0"], &["whole.dat", "restore -c"]),
        (&["-i", "head.dat", "-o", "head.dat", "trace.dat.cpu0"], &["head.dat", "-o FILE"]),
        (&["-i", "head.dat", "no.cpu0"], &["no.cpu0", "No such file"]),
        (&["-i", "head.dat"], &["CPU-FILE"]),
        (&["-c", "-t", "no/such/dir"], &["no/such/dir"]),
    ] {
        let line = complaint(&mut restore(dir, words))?;
        for part in parts {
            check(line.contains(part), || format!("no {part:?} in: {line}"))?;
        }
    }
    check(!dir.join("trace.dat").exists(), || "something was written".to_owned())
}

fn read_by_the_reference() -> Result<(), Failed> {
    let reference = requirements::reference()?;
    let dir = folder()?;
    let dir = dir.path();
    success(&mut restore(dir, &WORDS))?;
    let report =
        |file| success(reference.reader().current_dir(dir).args(["report", "-t", "-i", file]));
    let (found, expected) = (report("trace.dat")?, report("whole.dat")?);
    check(expected.lines().count() > 600 && found == expected, || found.clone())
}

fn this_machine() -> Result<(), Failed> {
    let _lock = TracefsLock::take()?;
    let dir = folder()?;
    let dir = dir.path();
    success(&mut restore(dir, &["-c"]))?;
    let partial = ["-i", "trace-partial.dat", "trace.dat.cpu0", "trace.dat.cpu1"];
    success(&mut restore(dir, &partial))?;
    success(&mut restore(dir, &["-o", "at-once.dat", "trace.dat.cpu0", "trace.dat.cpu1"]))?;
    for file in ["trace.dat", "at-once.dat"] {
        let tracedat::Reader { metadata, mut records } = tracedat::Reader::open(dir.join(file))?;
        let mut count = 0;
        while records.next()?.is_some() {
            count += 1;
        }
        check(count == 600, || format!("{file}: {count} records"))?;
        let names = metadata.event_texts().any(|text| text.system == "sched");
        check(names, || format!("{file}: no formats of sched"))?;
    }
    Ok(())
}
