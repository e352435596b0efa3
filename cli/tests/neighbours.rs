//! Recorders side by side, and instances of others: nobody disturbs anybody.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use common::listener::eventually;
use common::tracefs_state::WritableFiles;
use common::{Case, check, stderr, success, trace_cmd, with_tracefs};
use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use trace_virt::lab::requirements::{self, TracefsLock};

const CASES: &[Case] = &[
    Case {
        name: "root_two_recorders_in_instances_do_not_disturb_each_other",
        needs: with_tracefs,
        test: two,
    },
    Case { name: "root_an_instance_of_others_stays_as_it_was", needs: with_tracefs, test: foreign },
    Case {
        name: "root_the_next_recording_tells_who_was_killed_and_what_repairs_it",
        needs: with_tracefs,
        test: offered,
    },
];

fn main() -> ExitCode {
    common::run(CASES)
}

/// A recording without an end of its own; it is killed when a test ends early.
struct Recording(Option<Child>);

impl Recording {
    /// Returns when `seen` is there.
    fn start(words: &[&str], file: &Path, seen: impl Fn() -> bool) -> Result<Self, Failed> {
        let mut record = trace_cmd();
        record.args(["record", "-q"]).args(words).arg("-o").arg(file);
        record.stdin(Stdio::null()).stderr(Stdio::piped());
        let recording = Self(Some(record.spawn()?));
        eventually(&format!("{words:?}: no start"), || Ok(file.exists() && seen()))?;
        Ok(recording)
    }

    fn end(mut self, signal: Signal) -> Result<(), Failed> {
        let Some(child) = self.0.take() else { return Ok(()) };
        kill(Pid::from_raw(child.id().cast_signed()), signal)?;
        let output = child.wait_with_output()?;
        let as_asked = signal == Signal::SIGKILL || output.status.success();
        check(as_asked, || format!("{}: {}", output.status, stderr(&output)))
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill().and_then(|()| child.wait());
        }
    }
}

fn reads(file: PathBuf, text: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|now| now.trim() == text)
}

/// Short processes, so that there is something to see.
fn load() -> Result<(), Failed> {
    success(Command::new("sh").args(["-c", "for i in 1 2 3 4 5 6 7 8; do ls / >/dev/null; done"]))?;
    Ok(())
}

fn two() -> Result<(), Failed> {
    let _lock = TracefsLock::take()?;
    let tracing = requirements::tracefs()?;
    let before = WritableFiles::read(&tracing);
    let out = TempDir::new()?;
    let (file_a, file_b) = (out.path().join("a.dat"), out.path().join("b.dat"));
    let (dir_a, dir_b) = (tracing.join("instances/side_a"), tracing.join("instances/side_b"));
    let is_on = |dir: &Path, event: &str| reads(dir.join(event), "1");
    let switch = "events/sched/sched_switch/enable";
    let syscalls = "events/raw_syscalls/enable";
    let a = Recording::start(&["-B", "side_a", "-e", "sched_switch"], &file_a, || {
        is_on(&dir_a, switch) && is_on(&dir_a, "tracing_on")
    })?;
    let words = ["-B", "side_b", "-C", "mono", "-b", "4000", "-e", "raw_syscalls"];
    let b = Recording::start(&words, &file_b, || {
        is_on(&dir_b, syscalls) && is_on(&dir_b, "tracing_on")
    })?;
    load()?;
    a.end(Signal::SIGINT)?;
    check(!dir_a.exists(), || "the instance of the first is still there".to_owned())?;
    let untouched = is_on(&dir_b, syscalls) && is_on(&dir_b, "tracing_on");
    check(untouched, || "the end of the first turned the second off".to_owned())?;
    fs::write(dir_b.join("trace_marker"), "after the first has ended")?;
    load()?;
    b.end(Signal::SIGINT)?;
    before.are_as_in(&tracing)?;
    let report = |file: &Path| success(trace_cmd().arg("report").arg(file));
    let (a, b) = (report(&file_a)?, report(&file_b)?);
    check(a.contains("sched_switch:") && !a.contains("sys_enter"), || "the first file".to_owned())?;
    check(!b.contains("sched_switch:"), || "events of the first in the second".to_owned())?;
    let (_, later) = b.split_once("after the first has ended").ok_or("the marker is missing")?;
    check(later.contains("sys_enter"), || "nothing of the second after the first".to_owned())
}

/// An instance that somebody else made.
struct Foreign(PathBuf);

impl Foreign {
    fn make(tracing: &Path) -> Result<Self, Failed> {
        let foreign = Self(tracing.join("instances/of_others"));
        fs::create_dir(&foreign.0)?;
        for (file, text) in
            [("events/irq/enable", "1"), ("buffer_size_kb", "128"), ("trace_clock", "boot")]
        {
            fs::write(foreign.0.join(file), text)?;
        }
        Ok(foreign)
    }

    fn state(&self) -> Result<String, Failed> {
        let files = [
            "set_event",
            "buffer_size_kb",
            "trace_clock",
            "tracing_on",
            "set_event_notrace_pid",
            "events/sched/sched_switch/filter",
        ];
        let texts = files.map(|file| fs::read_to_string(self.0.join(file)));
        Ok(texts.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

fn foreign() -> Result<(), Failed> {
    let _lock = TracefsLock::take()?;
    let tracing = requirements::tracefs()?;
    let out = TempDir::new()?;
    let file = out.path().join("trace.dat");
    let foreign = Foreign::make(&tracing)?;
    let (before, all) = (foreign.state()?, WritableFiles::read(&tracing));
    let is_as_before = |when: &str| -> Result<(), Failed> {
        let now = foreign.state().map_err(|_| format!("{when}: it is gone"))?;
        check(now == before, || format!("{when}: {before}, then {now}"))?;
        all.are_as_in(&tracing)
    };
    let with =
        ["-B", "of_others", "-b", "512", "-C", "mono", "-e", "sched_switch", "-f", "prev_pid > 1"];
    for words in [&["-e", "sched"][..], &with] {
        let mut record = trace_cmd();
        success(record.args(["record", "-q"]).args(words).arg("-o").arg(&file).arg("true"))?;
        is_as_before(&format!("{words:?}"))?;
    }
    fs::remove_file(&file)?;
    let killed = Recording::start(&with, &file, || true)?;
    killed.end(Signal::SIGKILL)?;
    check(foreign.state()? != before, || "there is nothing to put back".to_owned())?;
    success(trace_cmd().args(["reset", "--stale"]))?;
    is_as_before("after a kill and a repair")
}

fn offered() -> Result<(), Failed> {
    let _lock = TracefsLock::take()?;
    let tracing = requirements::tracefs()?;
    success(trace_cmd().args(["reset", "--stale"]))?;
    let before = WritableFiles::read(&tracing);
    let out = TempDir::new()?;
    let file = out.path().join("trace.dat");
    let words = ["-e", "sched", "-B", "left_over", "-e", "irq"];
    let killed = Recording::start(&words, &file, || {
        reads(tracing.join("instances/left_over/events/irq/enable"), "1")
    })?;
    let pid = killed.0.as_ref().map_or(0, Child::id);
    killed.end(Signal::SIGKILL)?;
    let mut record = trace_cmd();
    record.args(["record", "-q", "-e", "sched_process_exec", "-o"]).arg(&file).arg("true");
    let output = record.output()?;
    let said = stderr(&output);
    let is_told = said.contains(&format!("process {pid} was killed"))
        && said.contains("trace-cmd reset --stale");
    check(output.status.success() && is_told, || format!("{}: {said}", output.status))?;
    check(tracing.join("instances/left_over").exists(), || "removed without a word".to_owned())?;
    success(trace_cmd().args(["reset", "--stale"]))?;
    before.are_as_in(&tracing)?;
    let output = record.output()?;
    check(stderr(&output).is_empty(), || stderr(&output))
}
