//! A listener that reads nothing, while more comes than all buffers between hold.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::bench::Bench;
use crate::common::listener::{Listener, eventually};
use crate::common::{check, stderr, values};
use crate::marks::{self, Marks, Pace};
use crate::{numbers, record};

fn start(listener: &Listener, words: &[&str]) -> Result<Child, Failed> {
    let mut record = record(&listener.address, &["-t", "--json", "-b", "64"]);
    record.args(["-s", "10000", "-e", "sched_process_exec"]).args(words);
    record.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(record.spawn()?)
}

/// The listener's file, once marks can be read in it.
fn file_with_marks(listener: &Listener) -> Result<PathBuf, Failed> {
    let mut found = None;
    eventually("no marks come", || {
        let names = listener.names()?;
        let Some(name) = names.iter().find(|name| name.ends_with(".dat")) else { return Ok(false) };
        let file = listener.dir().join(name);
        let has_marks = marks::in_file(&file).is_ok_and(|marks| !marks.is_empty());
        found = Some(file);
        Ok(has_marks)
    })?;
    found.ok_or_else(|| "no file".into())
}

/// Events that the kernel threw away on CPU 0.
fn lost_events(tracing: &Path) -> Result<u64, Failed> {
    let stats = fs::read_to_string(tracing.join("per_cpu/cpu0/stats"))?;
    let lost = stats.lines().filter_map(|line| {
        line.strip_prefix("overrun: ").or_else(|| line.strip_prefix("dropped events: "))
    });
    Ok(lost.filter_map(|number| number.parse::<u64>().ok()).sum())
}

/// Waits until all buffers are full: the kernel goes on losing events.
fn all_is_full(bench: &Bench) -> Result<(), Failed> {
    let mut last = lost_events(&bench.dir)?;
    let mut rounds = 0;
    eventually("the buffers do not fill", || {
        std::thread::sleep(Duration::from_millis(50));
        let now = lost_events(&bench.dir)?;
        rounds = if now > last { rounds + 1 } else { 0 };
        last = now;
        Ok(rounds >= 5)
    })
}

/// It reads on: what the kernel lost meanwhile is told, and all else arrives.
pub(crate) fn passes() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let mut listener = Listener::start(&[])?;
    let child = start(&listener, &[])?;
    let marks = Marks::start(&bench.dir, Pace::Flood)?;
    file_with_marks(&listener)?;
    listener.signal(Signal::SIGSTOP)?;
    let full = all_is_full(&bench);
    drop(marks);
    listener.signal(Signal::SIGCONT)?;
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT)?;
    let output = child.wait_with_output()?;
    full?;
    let text = stderr(&output);
    check(output.status.success(), || format!("{}: {text}", output.status))?;
    check(text.contains("events lost"), || text.clone())?;
    let json = String::from_utf8_lossy(&output.stdout).into_owned();
    check(values(&json, "\"lost_events\":").iter().sum::<u64>() > 0, || json.clone())?;
    check(numbers(&json, "sent_bytes") == numbers(&json, "arrived_bytes"), || json.clone())?;
    listener.wait_for("bytes of trace data")?;
    listener.end(Signal::SIGTERM)?;
    bench.is_as_before("recording")
}

/// It never reads again: the recorder ends, and the file has what had come.
pub(crate) fn stays() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let mut listener = Listener::start(&[])?;
    let mut child = start(&listener, &["--peer-timeout", "5"])?;
    let marks = Marks::start(&bench.dir, Pace::Slow)?;
    let file = file_with_marks(&listener)?;
    drop(marks);
    listener.signal(Signal::SIGSTOP)?;
    // Not before: nobody has to keep up with these.
    let marks = Marks::start(&bench.dir, Pace::Flood)?;
    let ended = eventually("the recorder goes on", || Ok(child.try_wait()?.is_some()));
    drop(marks);
    if ended.is_err() {
        child.kill()?;
    }
    let output = child.wait_with_output()?;
    listener.signal(Signal::SIGCONT)?;
    ended?;
    let text = stderr(&output);
    check(output.status.code() == Some(1), || format!("{}: {text}", output.status))?;
    check(text.contains("could not be written") && text.contains("events lost"), || text.clone())?;
    listener.wait_for("bytes of trace data")?;
    check(!marks::in_file(&file)?.is_empty(), || "nothing is left".to_owned())?;
    listener.end(Signal::SIGTERM)?;
    bench.is_as_before("recording")
}
