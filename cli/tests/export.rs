//! `export`: what it writes of made-up traces, where, and what it refuses.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use common::{Case, check, complaint, made_trace, second_quarter, success, trace_cmd, values};
use libtest_mimic::Failed;
use tempfile::TempDir;

const CASES: &[Case] = &[
    Case { name: "json_is_that_of_report", needs: || Ok(()), test: json },
    Case { name: "csv_has_a_line_for_each_record_of_one_event", needs: || Ok(()), test: one_table },
    Case { name: "tables_have_every_record_in_their_places", needs: || Ok(()), test: tables },
    Case { name: "perfetto_has_a_machine_for_each_file", needs: || Ok(()), test: perfetto },
    Case { name: "what_cannot_be_is_refused_and_leaves_nothing", needs: || Ok(()), test: refused },
];

fn main() -> ExitCode {
    common::run(CASES)
}

fn lines(words: &[&str], files: &[&Path]) -> Result<Vec<String>, Failed> {
    let text = success(trace_cmd().args(words).args(files))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// How many records each event has, as `report --json` tells.
fn counts(file: &Path) -> Result<BTreeMap<String, usize>, Failed> {
    let mut counts = BTreeMap::new();
    for line in lines(&["report", "--json"], &[file])? {
        let Some((_, rest)) = line.split_once("\"event\":\"") else { continue };
        let event = rest.split('"').next().unwrap_or_default();
        *counts.entry(event.to_owned()).or_default() += 1;
    }
    Ok(counts)
}

fn json() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let (a, b) = (made_trace(dir.path(), "a.dat", 1)?, made_trace(dir.path(), "b.dat", 2)?);
    let report = lines(&["report", "--json"], &[&a, &b])?;
    check(report.len() > 1000, || format!("{} lines", report.len()))?;
    check(lines(&["export", "--json"], &[&a, &b])? == report, || "other lines".to_owned())?;
    let window = second_quarter(&report.join("\n"));
    let window = window.each_ref().map(String::as_str);
    let selection = [&["--cpu", "1", "-F", "^sched_switch$"][..], &window].concat();
    let of = |command: &str| lines(&[&[command, "--json"], &selection[..]].concat(), &[&a, &b]);
    let selected = of("report")?;
    check(!selected.is_empty() && selected.len() < report.len() / 4, || format!("{selected:?}"))?;
    check(of("export")? == selected, || "others are selected".to_owned())?;
    let out = dir.path().join("out.json");
    success(trace_cmd().args(["export", "--json", "-o"]).arg(&out).args([&a, &b]))?;
    check(fs::read_to_string(&out)?.lines().eq(report.iter()), || "other lines in the file".into())
}

fn one_table() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let (a, b) = (made_trace(dir.path(), "a.dat", 1)?, made_trace(dir.path(), "b.dat", 2)?);
    let filter = ["-F", "^sched_switch$"];
    let csv = lines(&[&["export", "--csv"][..], &filter].concat(), &[&a, &b])?;
    let report = lines(&[&["report", "--json"][..], &filter].concat(), &[&a, &b])?;
    let head = "machine,common_timestamp,common_cpu,common_pid,common_comm,instance,prev_comm,";
    check(csv[0].starts_with(head), || csv[0].clone())?;
    let times: Vec<u64> =
        csv[1..].iter().filter_map(|l| l.split(',').nth(1)?.parse().ok()).collect();
    check(times.len() > 50, || format!("{} rows", times.len()))?;
    let machines = csv[1..].iter().all(|line| line.starts_with("testing,"));
    check(machines, || "the machine is the host name in the file".to_owned())?;
    check(times == values(&report.join("\n"), "\"ts\":"), || "other times".to_owned())
}

/// All files below a directory.
fn files(dir: &Path) -> Result<Vec<PathBuf>, Failed> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

/// Lines of CSV: texts in quotes may have lines of their own.
fn csv_lines(text: &str) -> usize {
    let outside = text.split('"').step_by(2);
    outside.map(|part| part.matches('\n').count()).sum()
}

fn tables() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let trace = made_trace(dir.path(), "trace.dat", 3)?;
    let wanted = counts(&trace)?;
    check(wanted.len() > 3, || format!("{wanted:?}"))?;
    for format in ["csv", "json", "parquet"] {
        let out = dir.path().join(format);
        let option = format!("--{format}");
        let export = || {
            let day = ["--day", "2026-11-26"];
            success(
                trace_cmd()
                    .args(["export", &option])
                    .args(day)
                    .arg("-o")
                    .arg(out.join(""))
                    .arg(&trace),
            )
        };
        export()?;
        let first = files(&out)?;
        export()?;
        check(files(&out)? == first, || "the same trace has the same names".to_owned())?;
        check(first.len() == wanted.len(), || format!("{first:?}"))?;
        for path in first {
            let words: Vec<String> =
                path.strip_prefix(&out)?.iter().map(|p| p.to_string_lossy().into_owned()).collect();
            let [_, event, machine, day, name] = words.as_slice() else {
                return Err(format!("{path:?}").into());
            };
            let place = machine == "machine=testing" && day == "day=2026-11-26";
            let named = name.starts_with("trace-") && name.ends_with(&format!(".{format}"));
            check(place && named, || format!("{path:?}"))?;
            if format == "csv" {
                let rows = csv_lines(&fs::read_to_string(&path)?) - 1;
                check(Some(&rows) == wanted.get(event), || format!("{path:?}: {rows} rows"))?;
            } else if format == "json" {
                let text = fs::read_to_string(&path)?;
                let rows: Vec<serde_json::Value> =
                    text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
                let known = |row: &serde_json::Value| row["common_timestamp"].is_u64();
                check(Some(&rows.len()) == wanted.get(event) && rows.iter().all(known), || {
                    format!("{path:?}: {} rows", rows.len())
                })?;
            } else {
                let bytes = fs::read(&path)?;
                check(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"), || event.clone())?;
            }
        }
    }
    Ok(())
}

fn perfetto() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let (a, b) = (made_trace(dir.path(), "a.dat", 1)?, made_trace(dir.path(), "b.dat", 2)?);
    let out = dir.path().join("out.pftrace");
    let size = |files: &[&Path]| -> Result<usize, Failed> {
        success(trace_cmd().args(["export", "--perfetto", "-o"]).arg(&out).args(files))?;
        Ok(fs::read(&out)?.len())
    };
    let (one, both) = (size(&[&a])?, size(&[&a, &b])?);
    check(one > 10_000 && both > one + 10_000, || format!("{one} and {both} bytes"))?;
    let part = dir.path().join("out.pftrace.part");
    check(!part.exists(), || "a part is left".to_owned())?;
    let output = trace_cmd().args(["export", "--perfetto", "-o", "-"]).args([&a, &b]).output()?;
    check(output.stdout == fs::read(&out)?, || "standard output has something else".to_owned())
}

fn refused() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let trace = made_trace(dir.path(), "a.dat", 1)?;
    let none = dir.path().join("none");
    let out = none.join("x.pftrace");
    let told = |words: &[&str]| complaint(trace_cmd().arg("export").args(words).arg(&trace));
    for (words, wanted) in [
        (&["--csv"][..], "are two tables; name a directory with -o DIR"),
        (&["--perfetto"], "name one with -o FILE"),
        (&["--parquet"], "name one with -o DIR"),
        (&["--perfetto", "-o", &out.to_string_lossy()], "No such file or directory"),
        (&["--json", "-F", "no_such_event"], "no event is named by the filter"),
        (&[], "--perfetto"),
    ] {
        let line = told(words)?;
        check(line.contains(wanted), || format!("{words:?}: {line}"))?;
    }
    let damaged = dir.path().join("damaged.dat");
    fs::write(&damaged, &fs::read(&trace)?[..100])?;
    let pftrace = dir.path().join("y.pftrace");
    complaint(trace_cmd().args(["export", "--perfetto", "-o"]).arg(&pftrace).arg(&damaged))?;
    check(files(dir.path())?.len() == 2, || format!("{:?}", files(dir.path())))
}
