//! How far `report` is from what no report can do without: reading the file, walking its sub-buffers, and writing as
//! many bytes as the text has. The same is done here by a program that looks at nothing on the way.

mod files;
mod walk;

use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitCode};

use tempfile::TempDir;
use trace_benches::measure::{Usage, instructions, measure};
use trace_benches::options::Options;
use trace_benches::{Outcome, program};
use tracedat::Reader;
use tracedat::compress::Codec;
use tracedat::convert::convert;
use tracedat::write::Version;

/// How many times the processor time of the walk a report may take.
const TARGET: f64 = 3.0;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.split_first() {
        Some((first, rest)) if first == walk::WALK => walk::walk(rest),
        Some((first, rest)) if first == files::GENERATE => files::generate(rest),
        Some((first, rest)) if first == files::RECORD => files::record(rest),
        _ => bench(&words),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("limit: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(words: &[String]) -> Outcome<()> {
    let Some(options) = Options::parse(1_000_000, words)? else {
        println!("limit: skipped: the options are for other benchmarks");
        return Ok(());
    };
    let binary = match &options.ours {
        Some(binary) => binary.clone(),
        None => program::our_binary(options.test)?,
    };
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let events = if options.test { 4000 } else { options.events };
    println!(
        "| {:<28} | {:>9} | {:>11} | {:>11} | {:>6} | {:>12} | {:>12} | {:>6} |",
        "", "events", "walk", "report", "ratio", "instr. walk", "report", "ratio"
    );
    println!(
        "| {:-<28} | {:->9} | {:->11} | {:->11} | {:->6} | {:->12} | {:->12} | {:->6} |",
        "", "", "", "", "", "", "", ""
    );
    for (what, made_by) in [("generated", files::GENERATE), ("recorded", files::RECORD)] {
        let file = dir.path().join("trace.dat");
        let mut make = own()?;
        make.arg(made_by).arg(events.to_string()).arg(&file);
        if let Err(error) = measure(&mut make, None) {
            println!("{what}: skipped: {error}");
            continue;
        }
        for codec in [Codec::None, Codec::Zstd] {
            let packed = dir.path().join("packed.dat");
            convert(&Reader::open(&file)?.metadata, File::create(&packed)?, Version::V7, codec)?;
            let bench =
                Bench { binary: &binary, dir: dir.path(), file: &packed, options: &options };
            bench.rows(&format!("{what}, {codec}"))?;
        }
    }
    Ok(())
}

struct Bench<'a> {
    binary: &'a Path,
    dir: &'a Path,
    file: &'a Path,
    options: &'a Options,
}

impl Bench<'_> {
    fn rows(&self, what: &str) -> Outcome<()> {
        let text = self.dir.join("text");
        measure(&mut self.report(), Some(File::create(&text)?))?;
        let bytes = text.metadata()?.len();
        let events = files::count(self.file)?;
        let walk = || -> Outcome<Command> {
            let mut walk = own()?;
            walk.arg(walk::WALK).arg(self.file).args([bytes.to_string(), events.to_string()]);
            Ok(walk)
        };
        for to_file in [false, true] {
            let output = || to_file.then(|| File::create(&text)).transpose();
            let (mut least_walk, mut least_report): (Option<Usage>, Option<Usage>) = (None, None);
            for _ in 0..self.options.rounds {
                let usage = measure(&mut walk()?, output()?)?;
                least_walk = Some(less(least_walk, usage));
                if to_file && text.metadata()?.len() != bytes {
                    return Err("the walk wrote another number of bytes".into());
                }
                least_report = Some(less(least_report, measure(&mut self.report(), output()?)?));
            }
            let each = |usage: Option<Usage>| {
                let usage = usage.ok_or("no round")?;
                Outcome::Ok(usage.cpu.as_nanos() as f64 / events as f64)
            };
            let (walk_ns, report_ns) = (each(least_walk)?, each(least_report)?);
            // Writing is the kernel's, which is not counted.
            let counted = !to_file && !self.options.test;
            let counts = match counted {
                true => instructions(&walk()?)?.zip(instructions(&self.report())?),
                false => None,
            };
            let what = format!("{what}, to {}", if to_file { "a file" } else { "nowhere" });
            print!(
                "| {what:<28} | {events:>9} | {walk_ns:>8.1} ns | {report_ns:>8.1} ns | {} |",
                ratio(report_ns, walk_ns)
            );
            match counts.map(|(walk, report)| (walk as f64, report as f64)) {
                Some((walk, report)) => println!(
                    " {:>12.0} | {:>12.0} | {} |",
                    walk / events as f64,
                    report / events as f64,
                    ratio(report, walk)
                ),
                None => println!(" {:>12} | {:>12} | {:>6} |", "-", "-", "-"),
            }
        }
        Ok(())
    }

    fn report(&self) -> Command {
        let mut command = program::command(self.binary);
        command.args(["report", "--threads", "1"]).arg(self.file);
        command
    }
}

fn less(a: Option<Usage>, b: Usage) -> Usage {
    a.filter(|a| a.cpu < b.cpu).unwrap_or(b)
}

fn ratio(report: f64, walk: f64) -> String {
    let ratio = report / walk;
    let mark = if ratio > TARGET { " !" } else { "" };
    format!("{:>6}", format!("{ratio:.1}{mark}"))
}

fn own() -> Outcome<Command> {
    Ok(Command::new(std::env::current_exe()?))
}
