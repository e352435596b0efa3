//! The reference's recorder, on the running kernel.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use trace_virt::lab::requirements::{self, TracefsLock};

use crate::common::listener::{Listener, eventually};
use crate::common::{check, free_port, success, trace_cmd};
use crate::recorder::{Kind, record};
use crate::trace::{Trace, report_of_both};

/// A recording of the reference that goes to a listener.
fn recorder(port: u16, words: &[&str]) -> Result<Command, Failed> {
    let mut command = requirements::reference()?.exact()?.recorder()?;
    command.args(["record", "-N", &format!("127.0.0.1:{port}"), "-e", "sched"]).args(words);
    Ok(command)
}

/// The only file of a directory.
fn only_file(listener: &Listener) -> Result<PathBuf, Failed> {
    match &listener.names()?[..] {
        [name] => Ok(listener.dir().join(name)),
        names => Err(format!("not one file: {names:?}").into()),
    }
}

/// `name` with its port, which differs, left out.
fn without_port(name: &Path) -> String {
    let name = name.file_name().unwrap_or_default().to_string_lossy();
    name.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// Over both protocols and in both versions.
pub(crate) fn records() -> Result<(), Failed> {
    let _lock = TracefsLock::take()?;
    for (transport, version) in [("-t", "6"), ("-t", "7"), ("", "6"), ("", "7")] {
        let mut listener = Listener::start(&[])?;
        let mut words = vec!["--file-version", version];
        words.extend(Some(transport).filter(|word| !word.is_empty()));
        words.extend(["sh", "-c", "for i in 1 2 3 4 5; do ls / >/dev/null; done"]);
        success(&mut recorder(listener.port()?, &words)?)?;
        listener.wait_for("bytes of trace data in")?;
        listener.is_idle()?;
        let file = only_file(&listener)?;
        let text = report_of_both(&file)?;
        check(text.contains("sched_switch:"), || {
            format!("{words:?}: {:?}", text.lines().take(6).collect::<Vec<_>>())
        })?;
        check(without_port(&file) == "trace.localhost:.dat", || format!("{file:?}"))?;
        listener.end(Signal::SIGTERM)?;
    }
    Ok(())
}

/// The reference's listener names files alike.
pub(crate) fn names() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let mut command = requirements::reference()?.exact()?.reader();
    let port = free_port()?;
    command.args(["listen", "--debug", "-p", &port.to_string(), "-d"]).arg(dir.path());
    let mut theirs = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let trace = Trace::new(100)?;
    let mut name = Err("nobody listens".into());
    let sent = eventually("nobody listens", || {
        name = record(port, &trace, &Kind { is_plain: true, ..Kind::default() });
        Ok(name.is_ok())
    });
    let named = sent.and_then(|()| {
        let path = dir.path().join(format!("trace.localhost:{}.dat", name?));
        eventually("it has no such file", || Ok(path.exists()))
    });
    theirs.kill()?;
    theirs.wait()?;
    named
}

/// A recorder that is killed with all its children.
pub(crate) fn killed() -> Result<(), Failed> {
    let _lock = TracefsLock::take()?;
    let mut listener = Listener::start(&[])?;
    let mut command = recorder(listener.port()?, &["-t", "sleep", "600"])?;
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let result = kill_it(&listener, &mut child);
    // Its events are still on.
    let mut reset = requirements::reference()?.exact()?.recorder()?;
    success(reset.arg("reset"))?;
    result?;
    listener.end(Signal::SIGTERM)
}

fn kill_it(listener: &Listener, child: &mut Child) -> Result<(), Failed> {
    let grown = eventually("no data comes", || {
        thread::sleep(Duration::from_millis(50));
        let names = listener.names()?;
        let Some(name) = names.first() else { return Ok(false) };
        let report = trace_cmd().args(["report", "-i"]).arg(listener.dir().join(name)).output()?;
        Ok(String::from_utf8_lossy(&report.stdout).contains(": sched_"))
    });
    kill(Pid::from_raw(-i32::try_from(child.id())?), Signal::SIGKILL)?;
    child.wait()?;
    grown?;
    listener.wait_for("ended early")?;
    listener.is_idle()?;
    report_of_both(&only_file(listener)?).map(drop)
}

/// Recorders of version 1.
pub(crate) fn version_1() -> Result<(), Failed> {
    use tracedat::compress::Codec;
    use tracedat::testing::Workload;
    use tracedat::write::Version;
    let mut listener = Listener::start(&[])?;
    let trace = Trace::of(Workload::new(101), Version::V6, Codec::None)?;
    let kind = Kind { v1: true, ..Kind::default() };
    let name = record(listener.port()?, &trace, &kind)?;
    listener.outcome(name)?;
    trace.is_in(&listener.file(name))?;
    listener.end(Signal::SIGTERM)
}
