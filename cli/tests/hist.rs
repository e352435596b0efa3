//! `hist` and `mem` as a user meets them, and next to the reference.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use common::{Case, check, complaint, success, trace_cmd};
use libtest_mimic::Failed;
use tempfile::TempDir;
use trace_virt::lab::requirements;
use tracedat::compress::Codec;
use tracedat::testing::{TraceBuilder, Workload};

const CASES: &[Case] = &[
    Case { name: "hist_counts_every_event", needs: || Ok(()), test: counts },
    Case { name: "mem_adds_up_what_call_sites_hold", needs: || Ok(()), test: memory },
    Case { name: "what_has_no_events_is_explained", needs: || Ok(()), test: refused },
    Case {
        name: "hist_is_that_of_the_reference",
        needs: || requirements::reference().map(drop),
        test: as_the_reference,
    },
];

fn main() -> ExitCode {
    common::run(CASES)
}

/// A folder with a trace of two CPUs whose symbols are where its functions are.
fn folder(version: u8, codec: Codec) -> Result<TempDir, Failed> {
    let dir = TempDir::new()?;
    let workload = Workload { events_per_cpu: 500, ..Workload::new(9) };
    let file = TraceBuilder::new(workload).version(version).codec(codec).build();
    fs::write(dir.path().join("trace.dat"), file)?;
    Ok(dir)
}

fn run(mut command: Command, dir: &Path, words: &[&str]) -> Result<String, Failed> {
    success(command.current_dir(dir).args(words))
}

/// The numbers behind `#` of the lines that start with a percentage.
fn sum_of_roots(text: &str) -> u64 {
    let roots = text.lines().filter(|line| line.starts_with("  %"));
    roots.filter_map(|line| line.rsplit_once('#')?.1.parse::<u64>().ok()).sum()
}

fn counts() -> Result<(), Failed> {
    let dir = folder(7, Codec::Zstd)?;
    let by_task = run(trace_cmd(), dir.path(), &["hist"])?;
    let together = run(trace_cmd(), dir.path(), &["hist", "-P", "-i", "trace.dat"])?;
    let events = ["sched_switch", "sched_waking", "kmalloc", "sys_enter", "irq_handler_entry"];
    for event in events {
        let head = |line: &&str| line.contains("<all pids>") && line.contains(event);
        let lines = together.lines().filter(head).count();
        check(lines == 1, || format!("{lines} lines of {event} in {together}"))?;
    }
    let (tasks, all) = (sum_of_roots(&by_task), sum_of_roots(&together));
    check(tasks == all && all > 700, || format!("{tasks} by task, {all} together"))
}

fn memory() -> Result<(), Failed> {
    let dir = folder(7, Codec::None)?;
    let text = run(trace_cmd(), dir.path(), &["mem"])?;
    check(text.starts_with("                Function            \tWaste\tAlloc"), || text.clone())?;
    // Every allocation of the workload wastes something or nothing, never less.
    let waste = |line: &str| line.split('\t').nth(1)?.parse::<i64>().ok();
    let waste: Vec<i64> = text.lines().skip(2).filter_map(waste).collect();
    check(!waste.is_empty() && waste.is_sorted_by(|a, b| a >= b), || text.clone())
}

fn refused() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    for command in ["hist", "mem"] {
        let mut missing = trace_cmd();
        let line = complaint(missing.current_dir(dir.path()).arg(command))?;
        check(line.contains("trace.dat") && line.contains("-i FILE"), || line.clone())?;
    }
    Ok(())
}

fn as_the_reference() -> Result<(), Failed> {
    let reference = requirements::reference()?;
    for (version, codec) in [(6, Codec::None), (7, Codec::None), (7, Codec::Zstd)] {
        let dir = folder(version, codec)?;
        for words in [&["hist"][..], &["hist", "-P"]] {
            let ours = run(trace_cmd(), dir.path(), words)?;
            let theirs = run(reference.reader(), dir.path(), words)?;
            check(ours == theirs, || format!("version {version} {words:?}\n{ours}\n{theirs}"))?;
        }
    }
    Ok(())
}
