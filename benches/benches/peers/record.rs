//! Recording: start, end, processor time, and what is lost.

use std::fs;

use tempfile::TempDir;

use crate::load::Kind;
use crate::measure::{median, take_turns};
use crate::programs::{Program, Programs};
use crate::recording::{Plan, Recording, record};
use crate::table::{self, Figure};
use crate::{Options, Outcome};

/// A program and its options.
type Contender<'a> = (Program, &'a [&'a str]);

struct Bench<'a> {
    programs: &'a Programs,
    options: &'a Options,
    dir: TempDir,
}

pub(crate) fn run(programs: &Programs, options: &Options) -> Outcome<()> {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let bench = Bench { programs, options, dir };
    bench.start_and_end()?;
    bench.uncompressed()?;
    bench.compressed()?;
    bench.losses()
}

impl Bench<'_> {
    fn start_and_end(&self) -> Outcome<()> {
        let words: &[&str] = &["-e", "sched"];
        let both = [(Program::Theirs, words), (Program::Ours, words)];
        let [theirs, ours] = &self.record(2 * self.options.rounds - 1, both, Kind::Nothing, 0)?;
        let start = |run: &Recording| run.start.as_secs_f64();
        compare("record -e sched, exec to workload", Figure::Seconds, theirs, ours, start, "3");
        let what = "record -e sched, workload's end to exit";
        compare(what, Figure::Seconds, theirs, ours, finish, "5");
        Ok(())
    }

    fn uncompressed(&self) -> Outcome<()> {
        let words: &[&str] = &["-e", "all", "--compression", "none"];
        let large: &[&str] = &["-e", "all", "--compression", "none", "--subbuf-size", "64"];
        let all = [(Program::Theirs, words), (Program::Ours, words), (Program::Ours, large)];
        for calls in [270_000, 4_000_000] {
            let [theirs, ours, large] = &self.heavy(all, Kind::Bytes, calls)?;
            let what = format!("uncompressed, {}: workload's end to exit", amount(theirs, ours));
            compare(&what, Figure::Seconds, theirs, ours, finish, "10");
            // The clock of processor time is too coarse for little data.
            if calls > 1_000_000 {
                let per_gigabyte = Figure::PerGigabyte;
                let what = "… processor while recording";
                compare(what, per_gigabyte, theirs, ours, Recording::cpu_per_gigabyte, "2");
                let what = "… the same, with sub-buffers of 64 KiB here";
                compare(what, per_gigabyte, theirs, large, Recording::cpu_per_gigabyte, "4");
                let what = "… processor, start and end included";
                compare(what, per_gigabyte, theirs, ours, Recording::all_cpu_per_gigabyte, "");
            }
            compare("… events lost", Figure::Count, theirs, ours, lost, "");
        }
        Ok(())
    }

    fn compressed(&self) -> Outcome<()> {
        let words: &[&str] = &["-e", "all", "--compression", "zstd"];
        let both = [(Program::Theirs, words), (Program::Ours, words)];
        let [theirs, ours] = &self.heavy(both, Kind::Bytes, 1_000_000)?;
        let what = format!("zstd, {}: processor, start and end included", amount(theirs, ours));
        let all_cpu = Recording::all_cpu_per_gigabyte;
        compare(&what, Figure::PerGigabyte, theirs, ours, all_cpu, "1.4");
        let size = |run: &Recording| run.file as f64 / run.gigabytes();
        compare("… size of the file for 1 GB", Figure::Bytes, theirs, ours, size, "1");
        compare("… events lost", Figure::Count, theirs, ours, lost, "");
        Ok(())
    }

    fn losses(&self) -> Outcome<()> {
        let words: &[&str] = &["-e", "all"];
        let real_time: &[&str] = &["-e", "all", "-r", "20"];
        let all = [(Program::Theirs, words), (Program::Theirs, real_time), (Program::Ours, words)];
        let [theirs, real_time, ours] = &self.heavy(all, Kind::Messages, 1000)?;
        let share = |run: &Recording| {
            let content = &run.content;
            100.0 * content.lost as f64 / (content.lost + content.events) as f64
        };
        let load = |run: &Recording| run.load.as_secs_f64();
        compare("400 tasks and pipes: events lost", Figure::Count, theirs, ours, lost, "10");
        compare("… share of all events", Figure::Percent, theirs, ours, share, "");
        compare("… time of the load", Figure::Seconds, theirs, ours, load, "");
        compare("… workload's end to exit", Figure::Seconds, theirs, ours, finish, "");
        compare("… with -r 20 there: events lost", Figure::Count, real_time, ours, lost, "");
        compare(
            "… with -r 20 there: time of the load",
            Figure::Seconds,
            real_time,
            ours,
            load,
            "1",
        );
        Ok(())
    }

    fn heavy<const N: usize>(
        &self,
        contenders: [Contender<'_>; N],
        load: Kind,
        count: u64,
    ) -> Outcome<[Vec<Recording>; N]> {
        let rounds = self.options.rounds.div_ceil(2);
        self.record(rounds, contenders, load, self.options.sized(count))
    }

    fn record<const N: usize>(
        &self,
        rounds: usize,
        contenders: [Contender<'_>; N],
        load: Kind,
        count: u64,
    ) -> Outcome<[Vec<Recording>; N]> {
        let file = self.dir.path().join("trace.dat");
        take_turns(rounds, contenders, |(program, words)| {
            let recording = record(self.programs, Plan { program, words, load, count }, &file)?;
            // The next one shall not have to wait for the disk.
            fs::remove_file(&file)?;
            Ok(recording)
        })
    }
}

fn finish(run: &Recording) -> f64 {
    run.finish.as_secs_f64()
}

fn lost(run: &Recording) -> f64 {
    run.content.lost as f64
}

/// How much data there was, there and here.
fn amount(theirs: &[Recording], ours: &[Recording]) -> String {
    let [theirs, ours] = [theirs, ours].map(|runs| median(runs, Recording::gigabytes));
    format!("{theirs:.2} and {ours:.2} GB")
}

fn compare(
    what: &str,
    unit: fn(f64) -> Figure,
    theirs: &[Recording],
    ours: &[Recording],
    figure: impl Fn(&Recording) -> f64,
    target: &str,
) {
    table::line(what, unit, median(theirs, &figure), median(ours, &figure), target);
}
