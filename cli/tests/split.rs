//! `split` as a user meets it: names of pieces, buffers, and what the reference reads in them.

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
    Case { name: "pieces_have_their_names", needs: || Ok(()), test: names },
    Case { name: "buffers_are_selected_and_renamed", needs: || Ok(()), test: buffers },
    Case { name: "what_cannot_be_split_is_explained", needs: || Ok(()), test: refused },
    Case {
        name: "the_reference_reads_the_same_events_in_the_pieces",
        needs: || requirements::reference().map(drop),
        test: read_by_the_reference,
    },
];

fn main() -> ExitCode {
    common::run(CASES)
}

/// A folder with a trace of two CPUs, 200 events each.
fn folder(version: u8, codec: Codec, instances: &[&str]) -> Result<TempDir, Failed> {
    let dir = TempDir::new()?;
    let instances = instances.iter().map(|&name| name.to_owned()).collect();
    let workload = Workload { events_per_cpu: 200, instances, ..Workload::new(5) };
    let file = TraceBuilder::new(workload).version(version).codec(codec).build();
    fs::write(dir.path().join("trace.dat"), file)?;
    Ok(dir)
}

fn split(dir: &Path, words: &[&str]) -> Command {
    let mut command = trace_cmd();
    command.current_dir(dir).arg("split").args(words);
    command
}

fn report(dir: &Path, file: &str) -> Result<Vec<String>, Failed> {
    let text = success(trace_cmd().current_dir(dir).args(["report", "-t", "-i", file]))?;
    Ok(lines(&text))
}

/// The lines of events.
fn lines(text: &str) -> Vec<String> {
    let is_head = |line: &str| line.starts_with("cpus=") || line.starts_with("version");
    text.lines().filter(|line| !is_head(line)).map(str::to_owned).collect()
}

fn files(dir: &Path) -> Result<Vec<String>, Failed> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn names() -> Result<(), Failed> {
    let dir = folder(7, Codec::Zstd, &[])?;
    let dir = dir.path();
    let told = success(&mut split(dir, &["-e", "150"]))?;
    check(told.starts_with("trace.dat.1: 150 events, "), || told.clone())?;
    success(&mut split(dir, &["-e", "10", "-o", "first.dat"]))?;
    success(&mut split(dir, &["-r", "-e", "150", "-o", "part"]))?;
    let expected = ["first.dat", "part.0001", "part.0002", "part.0003", "trace.dat", "trace.dat.1"];
    let found = files(dir)?;
    check(found == expected, || format!("{found:?}"))?;
    let all = report(dir, "trace.dat")?;
    let mut joined = Vec::new();
    for piece in ["part.0001", "part.0002", "part.0003"] {
        joined.extend(report(dir, piece)?);
    }
    check(joined == all && all.len() == 400, || format!("{} of {}", joined.len(), all.len()))?;
    check(report(dir, "trace.dat.1")? == all[..150], || "another first piece".to_owned())
}

fn buffers() -> Result<(), Failed> {
    let dir = folder(7, Codec::None, &["one", "two"])?;
    let dir = dir.path();
    let words = ["--top", "-b", "old", "-B", "two", "-t", "-o", "out.dat"];
    success(&mut split(dir, &words))?;
    let found = tracedat::Reader::open(dir.join("out.dat"))?.metadata.buffers;
    let names: Vec<&str> = found.iter().map(|buffer| buffer.name.as_str()).collect();
    check(names == ["", "old"], || format!("{names:?}"))?;
    let lines = report(dir, "out.dat")?.len();
    check(lines == 800, || format!("{lines} lines"))
}

fn refused() -> Result<(), Failed> {
    let dir = folder(7, Codec::None, &[])?;
    let dir = dir.path();
    for (words, parts) in [
        (&["-o", "trace.dat"][..], &["trace.dat", "-o FILE"][..]),
        (&["-s", "1", "-e", "1"], &["-s", "-e"]),
        (&["-C", "9"], &["CPU 9", "--stat"]),
        (&["-B", "none"], &["\"none\"", "--stat"]),
        (&["-i", "no.dat"], &["no.dat", "-i FILE"]),
        (&["soon"], &["soon", "75678.923853"]),
    ] {
        let line = complaint(&mut split(dir, words))?;
        for part in parts {
            check(line.contains(part), || format!("no {part:?} in: {line}"))?;
        }
    }
    let found = files(dir)?;
    check(found == ["trace.dat"], || format!("{found:?}"))
}

fn read_by_the_reference() -> Result<(), Failed> {
    let reference = requirements::reference()?;
    let read = |dir: &Path, file: &str| -> Result<Vec<String>, Failed> {
        let mut command = reference.reader();
        Ok(lines(&success(command.current_dir(dir).args(["report", "-t", "-i", file]))?))
    };
    for (version, codec) in [(6, Codec::None), (7, Codec::None), (7, Codec::Zstd)] {
        let dir = folder(version, codec, &[])?;
        let dir = dir.path();
        success(&mut split(dir, &["-r", "-e", "70"]))?;
        let mut joined = Vec::new();
        for number in 1..=6 {
            joined.extend(read(dir, &format!("trace.dat.{number:04}"))?);
        }
        let all = read(dir, "trace.dat")?;
        // Where a piece ends in a sub-buffer, the next one has no events lost before it.
        check(joined == all && !all.is_empty(), || {
            format!("version {version}: {} lines of {}", joined.len(), all.len())
        })?;
    }
    Ok(())
}
