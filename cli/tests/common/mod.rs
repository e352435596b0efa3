//! What tests of the binary share.

#![allow(dead_code, reason = "each test binary uses a part")]

pub(crate) mod bench;
pub(crate) mod disk;
pub(crate) mod listener;
pub(crate) mod load;
pub(crate) mod rights;
pub(crate) mod stream;
pub(crate) mod sys;
pub(crate) mod tracefs_state;
pub(crate) mod virt;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU16, Ordering};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::unistd::Pid;
use trace_virt::lab::{Missing, requirements};
use tracedat::testing::{TraceBuilder, Workload};

/// A test that says what the machine must have.
pub(crate) struct Case {
    /// Its name; `root_` if it needs root.
    pub(crate) name: &'static str,
    /// What it needs.
    pub(crate) needs: fn() -> Result<(), Missing>,
    /// What it does.
    pub(crate) test: fn() -> Result<(), Failed>,
}

/// Runs the cases; those whose needs are not met count as ignored, with the reason.
pub(crate) fn run(cases: &'static [Case]) -> std::process::ExitCode {
    let trials = cases.iter().map(|case| {
        Trial::ignorable_test(case.name, || match (case.needs)() {
            Ok(()) => (case.test)().map(|()| Completion::Completed),
            Err(missing) => Ok(Completion::ignored_with(missing)),
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// The binary under test, in the layout of its own time.
pub(crate) fn trace_cmd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trace-cmd"));
    command.env_remove("TRACE_CMD_COMPAT").env_remove("TRACE_CMD_VIRT_DIR").env("LC_ALL", "C");
    command
}

/// A file with a made-up trace.
pub(crate) fn made_trace(dir: &Path, name: &str, seed: u64) -> Result<PathBuf, Failed> {
    let path = dir.join(name);
    fs::write(&path, TraceBuilder::new(Workload::new(seed)).build())?;
    Ok(path)
}

/// A port of loopback for who cannot be asked which one he got. The kernel gives it to nobody who asks for any: its own
/// choice would be free only until the next one asks.
pub(crate) fn free_port() -> Result<u16, Failed> {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + (std::process::id() % 1000) as u16 * 20;
    for _ in 0..1000 {
        let port = first + TRIED.fetch_add(1, Ordering::Relaxed) % 2000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no port is free".into())
}

/// What a program wrote, if it ended well.
pub(crate) fn success(command: &mut Command) -> Result<String, Failed> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{command:?}: {}: {}", output.status, stderr(&output)).into())
}

/// The one line on standard error of a program that has to fail.
pub(crate) fn complaint(command: &mut Command) -> Result<String, Failed> {
    let output = command.output()?;
    let text = stderr(&output);
    check(!output.status.success(), || format!("{command:?} did not fail"))?;
    check(output.stdout.is_empty(), || format!("{command:?} printed something"))?;
    // What a killed recorder of somebody else left behind is told to everyone.
    let mut lines = text.lines().filter(|line| !line.contains("left tracing changed"));
    match (lines.next(), lines.next()) {
        (Some(line), None) => Ok(line.to_owned()),
        _ => Err(format!("{command:?}: not one line: {text:?}").into()),
    }
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The numbers behind a key, in the order they come in JSON.
pub(crate) fn values(json: &str, key: &str) -> Vec<u64> {
    let rest = json.split(key).skip(1);
    let words = rest.filter_map(|rest| rest.trim_start().split([',', '}']).next());
    words.filter_map(|word| word.trim().parse().ok()).collect()
}

/// The words that select the second quarter of the lines of `report --json`.
pub(crate) fn second_quarter(json: &str) -> [String; 4] {
    let times = values(json, "\"ts\":");
    let time = |at: usize| {
        let time = times.get(at).copied().unwrap_or_default();
        format!("{}.{:09}", time / 1_000_000_000, time % 1_000_000_000)
    };
    ["--from".into(), time(times.len() / 4), "--to".into(), time(times.len() / 2)]
}

/// A claim, and what to say when it does not hold.
pub(crate) fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}

/// No part of a secret is in what anyone may see.
pub(crate) fn is_kept(secret: &str, shown: &[Vec<u8>]) -> Result<(), Failed> {
    const PART: usize = 12;
    for text in shown {
        let mut parts = secret.as_bytes().windows(PART);
        let is_shown = parts.any(|part| text.windows(PART).any(|one| one == part));
        check(!is_shown, || format!("the key is shown: {}", String::from_utf8_lossy(text)))?;
    }
    Ok(())
}

/// What the system tells everybody of a process.
pub(crate) fn shown_of(pid: Pid) -> Result<Vec<Vec<u8>>, Failed> {
    let names = ["cmdline", "environ", "comm", "status"];
    let files = names.iter().map(|name| fs::read(format!("/proc/{pid}/{name}")));
    Ok(files.collect::<Result<_, _>>()?)
}

/// All of tracefs that a recording may change, as text.
pub(crate) fn tracing_state(dir: &Path) -> Vec<String> {
    let names = [
        "tracing_on",
        "trace_clock",
        "buffer_size_kb",
        "buffer_subbuf_size_kb",
        "buffer_percent",
        "trace_options",
        "set_event",
        "set_event_pid",
        "set_event_notrace_pid",
        "current_tracer",
        "tracing_cpumask",
        "events/enable",
        "events/sched/filter",
        "events/sched/sched_switch/filter",
        "events/sched/sched_switch/trigger",
        "saved_cmdlines_size",
    ];
    let read = |name: &&str| format!("{name}: {:?}", fs::read_to_string(dir.join(name)).ok());
    let mut state: Vec<String> = names.iter().map(read).collect();
    let instances = fs::read_dir(dir.join("instances")).into_iter().flatten().flatten();
    state.extend(instances.map(|entry| format!("instance {:?}", entry.file_name())));
    state
}

/// What a test of the running kernel needs.
pub(crate) fn with_tracefs() -> Result<(), Missing> {
    requirements::root()?;
    requirements::tracefs().map(drop)
}

/// The same with a guest.
pub(crate) fn with_guest() -> Result<(), Missing> {
    with_tracefs()?;
    requirements::guest()
}

/// The same with the reference, whose text is the one that is compared.
pub(crate) fn with_reference() -> Result<(), Missing> {
    with_tracefs()?;
    requirements::reference()?.exact().map(drop)
}
