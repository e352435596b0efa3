//! Reading: one mixed recording, by every command that reads all of it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use trace_benches::measure::{Usage, measure};

use crate::load::Kind;
use crate::measure::{first_event_line, median, take_turns};
use crate::programs::{BOTH, Program, Programs};
use crate::recording::{Plan, record};
use crate::table::{self, Figure};
use crate::{Options, Outcome};

/// About one event in a thousand.
const FILTER: &str = "sched_switch:prev_pid>0";

struct Bench<'a> {
    programs: &'a Programs,
    rounds: usize,
    dir: TempDir,
    trace: PathBuf,
}

pub(crate) fn run(programs: &Programs, options: &Options) -> Outcome<()> {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let trace = dir.path().join("trace.dat");
    let events = mixed(programs, options.events, &trace)?;
    let bench = Bench { programs, rounds: options.rounds, dir, trace };
    bench.whole_reports(events)?;
    bench.first_line()?;
    bench.filter(events)?;
    bench.counts()?;
    bench.conversions()
}

/// Records short processes until there are enough events; returns how many there are.
fn mixed(programs: &Programs, wanted: u64, trace: &Path) -> Outcome<u64> {
    // As many as it may take; a second try knows how many it does.
    let mut launches = wanted / 8000 + 1;
    for _ in 0..5 {
        let words = ["-q", "-e", "all", "--compression", "zstd"];
        let plan =
            Plan { program: Program::Ours, words: &words, load: Kind::Processes, count: launches };
        let events = record(programs, plan, trace)?.content.events;
        if events >= wanted {
            return Ok(events);
        }
        // A tenth more than it takes, if processes stay as they were.
        launches = launches * wanted / events.max(1) * 11 / 10 + 1;
    }
    Err(format!("{launches} launches of processes are not yet {wanted} events").into())
}

impl Bench<'_> {
    fn whole_reports(&self, events: u64) -> Outcome<()> {
        let nowhere = self.both(|command| measure(command.arg("report").arg(&self.trace), None))?;
        let what = format!("report of {:.2} M events", events as f64 / 1e6);
        wall(&format!("{what}, wall"), &nowhere, "20");
        let (filed, _) = self.print_to_files(&["report"])?;
        wall("report into a file, wall", &filed, "15");
        let single = take_turns(self.rounds, BOTH, |program| {
            let mut command = self.programs.reader(program);
            command.arg("report");
            // The C trace-cmd has one thread and no such option.
            if program == Program::Ours {
                command.args(["--threads", "1"]);
            }
            measure(command.arg(&self.trace), None)
        })?;
        let [theirs, ours] = medians(&single, |usage| usage.cpu.as_secs_f64());
        table::line("report --threads 1, processor", Figure::Seconds, theirs, ours, "11");
        let [theirs, ours] = medians(&nowhere, |usage| usage.memory as f64);
        table::line("report, peak memory (target: 32 MB)", Figure::Bytes, theirs, ours, "");
        Ok(())
    }

    fn first_line(&self) -> Outcome<()> {
        let times =
            self.both(|command| first_event_line(command.arg("report").arg(&self.trace)))?;
        let [theirs, ours] = times.map(|runs| median(&runs, Duration::as_secs_f64));
        let what = "report, until the first event can be read";
        table::line(what, Figure::Seconds, theirs, ours, "10");
        Ok(())
    }

    fn filter(&self, events: u64) -> Outcome<()> {
        let (runs, text) = self.print_to_files(&["report", "-F", FILTER])?;
        let kept = BufReader::new(File::open(text)?).lines().count() as u64;
        wall(&format!("report -F, 1 event in {}, wall", events / kept.max(1)), &runs, "10");
        Ok(())
    }

    /// Has both print into files; returns that of ours too, which is the same text as theirs.
    fn print_to_files(&self, words: &[&str]) -> Outcome<([Vec<Usage>; 2], PathBuf)> {
        let texts = BOTH.map(|program| self.dir.path().join(format!("{program:?}.txt")));
        let print = |program: Program, command: &mut Command| {
            let file = File::create(&texts[program as usize])?;
            measure(command.args(words).arg(&self.trace), Some(file))
        };
        let runs = take_turns(self.rounds, BOTH, |program| {
            print(program, &mut self.programs.reader(program))
        })?;
        // What was timed is the layout of later versions, which is longer.
        let mut ours = self.programs.reader(Program::Ours);
        print(Program::Ours, ours.env("TRACE_CMD_COMPAT", "3.1.6"))?;
        same_text(&texts)?;
        let [_, ours] = texts;
        Ok((runs, ours))
    }

    fn counts(&self) -> Outcome<()> {
        let runs =
            self.both(|command| measure(command.args(["hist", "-i"]).arg(&self.trace), None))?;
        wall("hist, wall", &runs, "6");
        let stat = |command: &mut Command| {
            measure(command.args(["report", "--stat"]).arg(&self.trace), None)
        };
        wall("report --stat, wall", &self.both(stat)?, "20");
        Ok(())
    }

    fn conversions(&self) -> Outcome<()> {
        let made = BOTH.map(|program| self.dir.path().join(format!("{program:?}.dat")));
        let convert = |program: Program, compression: &str| {
            let mut command = self.programs.reader(program);
            command.args(["convert", "-i"]).arg(&self.trace);
            command.arg("-o").arg(&made[program as usize]).args(["--compression", compression]);
            measure(&mut command, None)
        };
        let zstd = take_turns(self.rounds, BOTH, |program| convert(program, "zstd"))?;
        wall("convert to zstd, wall", &zstd, "1");
        let size = |path: &Path| fs::metadata(path).map(|file| file.len() as f64);
        let [theirs, ours] = [size(&made[0])?, size(&made[1])?];
        table::line("convert to zstd, size of the file", Figure::Bytes, theirs, ours, "1");
        // Packages of the C trace-cmd come without zlib.
        let zlib = take_turns(self.rounds, [Program::Ours], |program| convert(program, "zlib"))?;
        let runs = [zstd[0].clone(), zlib[0].clone()];
        wall("convert to zlib, beside zstd there, wall", &runs, "");
        let ours = size(&made[1])?;
        table::line("convert to zlib, beside zstd there, size", Figure::Bytes, theirs, ours, "");
        Ok(())
    }

    fn both<R>(&self, mut run: impl FnMut(&mut Command) -> Outcome<R>) -> Outcome<[Vec<R>; 2]> {
        take_turns(self.rounds, BOTH, |program| run(&mut self.programs.reader(program)))
    }
}

fn wall(what: &str, runs: &[Vec<Usage>; 2], target: &str) {
    let [theirs, ours] = medians(runs, |usage| usage.wall.as_secs_f64());
    table::line(what, Figure::Seconds, theirs, ours, target);
}

fn medians(runs: &[Vec<Usage>; 2], figure: impl Fn(&Usage) -> f64) -> [f64; 2] {
    [median(&runs[0], &figure), median(&runs[1], &figure)]
}

/// Asks for the same text from both programs.
fn same_text(texts: &[PathBuf; 2]) -> Outcome<()> {
    let [mut theirs, mut ours] =
        [BufReader::new(File::open(&texts[0])?), BufReader::new(File::open(&texts[1])?)];
    let (mut line_theirs, mut line_ours) = (Vec::new(), Vec::new());
    for number in 1u64.. {
        line_theirs.clear();
        line_ours.clear();
        theirs.read_until(b'\n', &mut line_theirs)?;
        ours.read_until(b'\n', &mut line_ours)?;
        if line_theirs != line_ours {
            let [theirs, ours] =
                [&line_theirs, &line_ours].map(|line| String::from_utf8_lossy(line));
            return Err(format!("line {number} differs:\n{theirs}{ours}").into());
        }
        if line_ours.is_empty() {
            break;
        }
    }
    Ok(())
}
