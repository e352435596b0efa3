//! Signals to a recording: before it traces, while it does, and while it ends.

use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::thread;
use std::time::Duration;

use libtest_mimic::Failed;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::bench::Bench;
use crate::common::{check, stderr, success, trace_cmd};

/// When a signal comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// So long after the process is there.
    Start(Duration),
    Recording,
    /// So long after it was asked to end.
    End(Duration),
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const PHASES: [Phase; 6] = [
    Phase::Start(ms(0)),
    Phase::Start(ms(20)),
    Phase::Start(ms(80)),
    Phase::Recording,
    Phase::End(ms(0)),
    Phase::End(ms(10)),
];

pub(crate) fn interrupted() -> Result<(), Failed> {
    ends_it(Signal::SIGINT)
}

pub(crate) fn terminated() -> Result<(), Failed> {
    ends_it(Signal::SIGTERM)
}

pub(crate) fn hung_up() -> Result<(), Failed> {
    ends_it(Signal::SIGHUP)
}

/// It ends at once, or well; either way it has put all back by itself.
fn ends_it(signal: Signal) -> Result<(), Failed> {
    let bench = Bench::new()?;
    for phase in PHASES {
        let output = bench.end(sent(&bench, signal, phase)?)?;
        let is_early = matches!(phase, Phase::Start(_));
        let told = || format!("{phase:?}: {}: {}", output.status, stderr(&output));
        check(output.status.success() || is_early, told)?;
        let report = bench.report()?;
        check(report.is_some() || is_early, || format!("{phase:?}: no file"))?;
        bench.is_as_before()?;
    }
    bench.all_is_as_before()
}

/// It kills, as SIGKILL does: what was recorded can be read, and who comes next puts tracing back.
pub(crate) fn quit() -> Result<(), Failed> {
    let bench = Bench::new()?;
    for phase in PHASES {
        bench.end(sent(&bench, Signal::SIGQUIT, phase)?)?;
        let report = bench.report()?;
        let is_early = matches!(phase, Phase::Start(_));
        check(report.is_some() || is_early, || format!("{phase:?}: no file"))?;
        success(trace_cmd().args(["reset", "--stale"]))?;
        bench.is_as_before()?;
    }
    bench.all_is_as_before()
}

/// Nobody minds.
pub(crate) fn broken_pipe() -> Result<(), Failed> {
    let bench = Bench::new()?;
    for phase in PHASES {
        let mut recorder = sent(&bench, Signal::SIGPIPE, phase)?;
        if !matches!(phase, Phase::End(_)) {
            // A process that has not begun to run can be killed by it.
            bench.has_file(&mut recorder)?;
            signal_to(&recorder, Signal::SIGINT)?;
        }
        let output = bench.end(recorder)?;
        let is_early = output.status.signal() == Some(Signal::SIGPIPE as i32)
            && matches!(phase, Phase::Start(_));
        let told = || format!("{phase:?}: {}: {}", output.status, stderr(&output));
        check(output.status.success() || is_early, told)?;
        bench.report()?;
        bench.is_as_before()?;
    }
    bench.all_is_as_before()
}

/// A recording that got a signal.
fn sent(bench: &Bench, signal: Signal, phase: Phase) -> Result<Child, Failed> {
    let mut recorder = bench.start(bench.record(&["-e", "sched_process_exec", "-s", "5000"]))?;
    match phase {
        Phase::Start(after) => thread::sleep(after),
        Phase::Recording => bench.has_file(&mut recorder)?,
        Phase::End(after) => {
            bench.has_file(&mut recorder)?;
            signal_to(&recorder, Signal::SIGINT)?;
            thread::sleep(after);
        }
    }
    signal_to(&recorder, signal)?;
    Ok(recorder)
}

/// It may have ended.
fn signal_to(recorder: &Child, signal: Signal) -> Result<(), Failed> {
    match kill(Pid::from_raw(recorder.id().cast_signed()), signal) {
        Err(Errno::ESRCH) => Ok(()),
        sent => Ok(sent?),
    }
}

/// The command dies in the middle: the recording has what it did, and ends.
pub(crate) fn workload() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let words = ["-e", "sched_process_exec", "-F", "sh", "-c", "ls / >/dev/null; kill -9 $$"];
    let output = bench.end(bench.start(bench.record(&words))?)?;
    let said = stderr(&output);
    check(output.status.code().is_some(), || format!("{}: {said}", output.status))?;
    let report = bench.report()?.ok_or("no file")?;
    check(report.contains("sched_process_exec"), || report.clone())?;
    bench.all_is_as_before()
}
