//! This trace-cmd beside the installed C trace-cmd, in one run, taking turns: how long, how much
//! memory, how many events lost. Prints medians, ratios and what the ratios should be.

mod generated;
mod load;
mod measure;
mod network;
mod options;
mod programs;
mod record;
mod recording;
mod report;
mod table;
mod tracing;

use std::fs;
use std::process::{Command, ExitCode};

use trace_benches::Outcome;

use options::Options;
use programs::Programs;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.split_first() {
        Some((first, rest)) if first == load::WORD => load::be(rest),
        Some((first, rest)) if first == recording::COUNT => recording::count(rest),
        _ => bench(words),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(words: Vec<String>) -> Outcome<()> {
    let Some(options) = Options::parse(words.into_iter())? else {
        println!("peers: skipped: the options are for other benchmarks");
        return Ok(());
    };
    let reference = match Programs::reference() {
        Ok(reference) => reference,
        Err(missing) => {
            println!("peers: skipped: {missing}");
            return Ok(());
        }
    };
    let programs = Programs::new(reference, &options)?;
    table::head(&machine()?);
    if options.report {
        report::run(&programs, &options)?;
    }
    if options.record {
        record::run(&programs, &options)?;
    }
    if options.network {
        network::run(&programs, &options)?;
    }
    Ok(())
}

/// The kernel, the CPUs, and how busy they are.
fn machine() -> Outcome<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cpus = std::thread::available_parallelism()?;
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let model = info.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown model");
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    Ok(format!("Linux {}, {cpus} CPUs ({model}), load {load} before", kernel.trim()))
}

/// What a command printed, if it ended well.
fn output(command: &mut Command) -> Outcome<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}: {complaint}", output.status).into())
}
