//! `report` and `split` of a part of the time or of the CPUs: what they print, and that the reference agrees on
//! where a trace starts and ends.

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
    Case { name: "a_window_has_the_lines_of_its_times", needs: || Ok(()), test: lines_of_a_window },
    Case { name: "a_time_as_printed_stands_for_its_lines", needs: || Ok(()), test: as_printed },
    Case { name: "times_count_from_the_first_event", needs: || Ok(()), test: after_start },
    Case { name: "a_piece_has_the_lines_of_a_window", needs: || Ok(()), test: piece },
    Case { name: "ends_of_the_cpus_are_those_of_their_lines", needs: || Ok(()), test: ends },
    Case { name: "what_is_no_time_is_explained", needs: || Ok(()), test: refused },
    Case {
        name: "the_reference_finds_the_same_ends",
        needs: || requirements::reference().map(drop),
        test: ends_by_the_reference,
    },
];

const FORMATS: [(u8, Codec); 4] =
    [(6, Codec::None), (7, Codec::None), (7, Codec::Zlib), (7, Codec::Zstd)];

fn main() -> ExitCode {
    common::run(CASES)
}

/// A folder with a trace of three CPUs.
fn folder((version, codec): (u8, Codec)) -> Result<TempDir, Failed> {
    let dir = TempDir::new()?;
    let workload = Workload { cpus: 3, events_per_cpu: 3000, missed_every: 0, ..Workload::new(9) };
    let file = TraceBuilder::new(workload).version(version).codec(codec).build();
    fs::write(dir.path().join("trace.dat"), file)?;
    Ok(dir)
}

fn report(dir: &Path, words: &[&str]) -> Result<Vec<String>, Failed> {
    let text = success(trace_cmd().current_dir(dir).arg("report").args(words))?;
    Ok(text.lines().filter(|line| !line.starts_with("cpus=")).map(str::to_owned).collect())
}

/// The time of a line, as it is written.
fn stamp(line: &str) -> Option<&str> {
    line.split_whitespace().find_map(|word| {
        let time = word.strip_suffix(':')?;
        time.starts_with(|first: char| first.is_ascii_digit()).then_some(time)
    })
}

/// In nanoseconds, from all nine digits.
fn time(line: &str) -> Option<u64> {
    stamp(line)?.replace('.', "").parse().ok()
}

fn lines_of_a_window() -> Result<(), Failed> {
    for format in FORMATS {
        let dir = folder(format)?;
        let all = report(dir.path(), &["-t"])?;
        check(all.len() == 9000, || format!("{} lines", all.len()))?;
        for (first, last) in [(4000, 4090), (0, 20), (8900, 8999), (4500, 4500)] {
            let (from, to) = (&all[first], &all[last]);
            let words = ["--from", stamp(from).unwrap_or(""), "--to", stamp(to).unwrap_or("")];
            let wanted = all.iter().filter(|line| (time(from)..=time(to)).contains(&time(line)));
            let wanted: Vec<_> = wanted.cloned().collect();
            for more in [&["-t"][..], &["-t", "--threads", "1"], &["-t", "--threads", "4"]] {
                let found = report(dir.path(), &[&words, more].concat())?;
                check(found == wanted, || format!("{words:?} {more:?}: {} lines", found.len()))?;
            }
            let of_one_cpu: Vec<_> = wanted.into_iter().filter(|l| l.contains("[001]")).collect();
            let found = report(dir.path(), &[&words[..], &["-t", "--cpu", "1"]].concat())?;
            check(found == of_one_cpu, || format!("{words:?}: {} of CPU 1", found.len()))?;
        }
    }
    Ok(())
}

fn as_printed() -> Result<(), Failed> {
    let dir = folder((7, Codec::Zstd))?;
    let all = report(dir.path(), &[])?;
    for line in all.iter().step_by(1000) {
        let time = stamp(line).ok_or("a line without a time")?;
        let found = report(dir.path(), &["--from", time, "--to", time])?;
        let wanted: Vec<_> = all.iter().filter(|line| stamp(line) == Some(time)).cloned().collect();
        check(found == wanted && !found.is_empty(), || format!("{time}: {found:?}"))?;
    }
    Ok(())
}

fn after_start() -> Result<(), Failed> {
    let dir = folder((7, Codec::None))?;
    let all = report(dir.path(), &["-t"])?;
    let stamps: Vec<u64> = all.iter().filter_map(|line| time(line)).collect();
    let (from, to) = (stamps[4000] - stamps[0], stamps[4100] - stamps[0]);
    let seconds = |ns: u64| format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
    let (plain, more) = (seconds(from), seconds(to));
    let words = ["-t", "--from", &format!("+{plain}"), "--to", &format!("+{more}")];
    let found = report(dir.path(), &words)?;
    let wanted =
        all.iter().zip(&stamps).filter(|(_, time)| (from..=to).contains(&(*time - stamps[0])));
    let wanted: Vec<_> = wanted.map(|(line, _)| line.clone()).collect();
    check(found == wanted && found.len() > 100, || format!("{} lines", found.len()))?;
    // Where times are counted from the first event, they are printed so.
    let aligned = report(dir.path(), &["-t", "--align-ts"])?;
    let words = ["-t", "--align-ts", "--from", &plain, "--to", &format!("+{more}")];
    let found = report(dir.path(), &words)?;
    let is_wanted = |line: &&String| time(line).is_some_and(|time| (from..=to).contains(&time));
    let wanted: Vec<_> = aligned.iter().filter(is_wanted).cloned().collect();
    check(found == wanted && found.len() > 100, || format!("{} lines aligned", found.len()))
}

fn piece() -> Result<(), Failed> {
    for format in FORMATS {
        let dir = folder(format)?;
        let all = report(dir.path(), &["-t"])?;
        let (from, to) = (stamp(&all[5000]).unwrap_or(""), stamp(&all[5300]).unwrap_or(""));
        let mut split = trace_cmd();
        split.current_dir(dir.path()).args(["split", "-o", "piece.dat", from, to]);
        success(&mut split)?;
        let piece = report(dir.path(), &["-t", "-i", "piece.dat"])?;
        let window = report(dir.path(), &["-t", "--from", from, "--to", to])?;
        check(piece == window && piece.len() > 290, || format!("{} lines", piece.len()))?;
    }
    Ok(())
}

const ENDS: [&str; 5] = ["report", "--first-event", "--last-event", "-i", "trace.dat"];

fn ends() -> Result<(), Failed> {
    for format in FORMATS {
        let dir = folder(format)?;
        let all = report(dir.path(), &["-t"])?;
        let text = success(trace_cmd().current_dir(dir.path()).args(ENDS).arg("-t"))?;
        for cpu in 0..3 {
            let mark = format!("[{cpu:03}]");
            let mut own = all.iter().filter(|line| line.contains(&mark)).filter_map(|l| stamp(l));
            let (first, last) = (own.next().unwrap_or(""), own.next_back().unwrap_or(""));
            let line = text.lines().find(|line| line.trim_start().starts_with(&cpu.to_string()));
            let line = line.ok_or_else(|| format!("no CPU {cpu}: {text}"))?;
            let rest = line.split_once(first).map_or("", |(_, rest)| rest);
            check(rest.contains("Last event:") && rest.ends_with(last), || text.clone())?;
        }
    }
    Ok(())
}

fn ends_by_the_reference() -> Result<(), Failed> {
    let reference = requirements::reference()?;
    // Release 3.1.6 of the distribution is built without zlib.
    for format in FORMATS.into_iter().filter(|(_, codec)| *codec != Codec::Zlib) {
        let dir = folder(format)?;
        let run = |command: &mut Command| success(command.current_dir(dir.path()).args(ENDS));
        let (own, peer) = (run(&mut trace_cmd())?, run(&mut reference.reader())?);
        check(own == peer, || format!("{own}\n{peer}"))?;
    }
    Ok(())
}

fn refused() -> Result<(), Failed> {
    let dir = folder((7, Codec::None))?;
    for (words, parts) in [
        (&["--from", "soon"][..], &["soon", "75678.923853"][..]),
        (&["--to", "99999999999"], &["99999999999", "clock"]),
        (&["--raw-ts", "--from", "1.5"], &["--from 1.5", "whole ticks"]),
        (&["--from", "1", "--cpus"], &["--from", "--cpus"]),
    ] {
        let mut command = trace_cmd();
        let line = complaint(command.current_dir(dir.path()).arg("report").args(words))?;
        for part in parts {
            check(line.contains(part), || format!("no {part:?} in: {line}"))?;
        }
    }
    Ok(())
}
