//! Instructions per event of each stage, counted by callgrind: what no other work on the machine changes.
//!
//! Each work is run in a process of its own, once and three times; half the difference is what one time takes,
//! without what comes before it.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use tempfile::TempDir;
use trace_benches::Outcome;
use trace_benches::measure::instructions;
use trace_benches::options::Options;
use trace_benches::stage;
use trace_benches::workload::{Trace, Traces};

/// The first word that makes this program do a work: `run STAGE WORK TIMES EVENTS [FILE]`.
const RUN: &str = "run";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.split_first() {
        Some((first, rest)) if first == RUN => run(rest),
        _ => bench(&words),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(words: &[String]) -> Outcome<()> {
    let Some(options) = Options::parse(20_000, words)? else {
        println!("instructions: skipped: the options are for other benchmarks");
        return Ok(());
    };
    let events = if options.test { 500 } else { options.events };
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let traces = Traces::new(events)?;
    let recorded = match traces.recorded() {
        Some(trace) => {
            let path = dir.path().join("recorded.dat");
            std::fs::write(&path, &trace.file)?;
            Some(path)
        }
        None => None,
    };
    println!("| {:<12} | {:<28} | {:>14} | {:>12} |", "stage", "", "instructions", "each byte");
    println!("| {:-<12} | {:-<28} | {:->14} | {:->12} |", "", "", "", "");
    for (stage, works) in stage::ALL {
        let Ok(works) = works(&traces) else { continue };
        for work in works.iter().filter(|work| work.is_steady) {
            let count =
                |times| instructions(&command(stage, &work.name, times, events, &recorded)?);
            let (Some(once), Some(thrice)) = (count(1)?, count(3)?) else {
                println!("instructions: skipped: there is no valgrind");
                return Ok(());
            };
            let count = thrice.saturating_sub(once) as f64 / 2.0;
            let bytes = match work.bytes {
                0 => "-".to_owned(),
                bytes => format!("{:.2}", count / bytes as f64),
            };
            let each = count / work.items as f64;
            println!("| {stage:<12} | {:<28} | {each:>14.1} | {bytes:>12} |", work.name);
            if options.test {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn command(
    stage: &str,
    work: &str,
    times: u32,
    events: u32,
    recorded: &Option<PathBuf>,
) -> Outcome<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([RUN, stage, work, &times.to_string(), &events.to_string()]).args(recorded);
    Ok(command)
}

fn run(words: &[String]) -> Outcome<()> {
    let [stage, name, times, events, recorded @ ..] = words else {
        return Err("a run is STAGE WORK TIMES EVENTS [FILE]".into());
    };
    let read = |path: &String| -> Outcome<Trace> { Trace::of_file(std::fs::read(path)?.into()) };
    let traces = Traces::from_parts(events.parse()?, recorded.first().map(read).transpose()?);
    let (_, works) =
        stage::ALL.into_iter().find(|(name, _)| name == stage).ok_or("no such stage")?;
    let mut works = works(&traces)?;
    let work = works.iter_mut().find(|work| work.name == *name).ok_or("no such work")?;
    let times: u32 = times.parse()?;
    for _ in 0..times {
        (work.prepare)();
        (work.run)();
    }
    Ok(())
}
