//! A recording with the machine around it: what there must be before it, and after.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use tempfile::TempDir;
use trace_virt::lab::requirements::{self, TracefsLock};

use crate::common::tracefs_state::WritableFiles;
use crate::common::{check, stderr, success, trace_cmd, tracing_state};

/// Nothing takes longer, whatever fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(240);

const JOURNALS: &str = "/run/trace-cmd/journals";
const STEP: Duration = Duration::from_millis(5);

pub(crate) struct Bench {
    pub(crate) tracing: PathBuf,
    out: TempDir,
    /// What takes long to look at, and what does not.
    before: WritableFiles,
    state: Vec<String>,
    journals: Vec<PathBuf>,
    _lock: TracefsLock,
}

impl Bench {
    pub(crate) fn new() -> Result<Self, Failed> {
        let lock = TracefsLock::take()?;
        let tracing = requirements::tracefs()?;
        // What others left is not to be taken for ours.
        success(trace_cmd().args(["reset", "--stale"]))?;
        let (before, state) = (WritableFiles::read(&tracing), tracing_state(&tracing));
        let (out, journals) = (TempDir::new()?, names(Path::new(JOURNALS)));
        Ok(Self { tracing, out, before, state, journals, _lock: lock })
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.out.path().join("trace.dat")
    }

    /// A recording of `words`, in a group of its own.
    pub(crate) fn record(&self, words: &[&str]) -> Command {
        let mut record = trace_cmd();
        record.args(["record", "-q", "-o"]).arg(self.file()).args(words);
        grouped(record)
    }

    /// Starts what is a recording, or becomes one.
    pub(crate) fn start(&self, mut command: Command) -> Result<Child, Failed> {
        let _ = fs::remove_file(self.file());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command.spawn()?)
    }

    /// Waits until a file of this recording can be seen, or the recording has ended.
    pub(crate) fn has_file(&self, recorder: &mut Child) -> Result<(), Failed> {
        within("there is no file", || Ok(self.file().exists() || recorder.try_wait()?.is_some()))
    }

    /// Waits for the end of a recording and of all it had started.
    pub(crate) fn end(&self, mut recorder: Child) -> Result<Output, Failed> {
        let group = recorder.id();
        let ended = within("it does not end", || Ok(recorder.try_wait()?.is_some()));
        if ended.is_err() {
            recorder.kill()?;
        }
        let output = recorder.wait_with_output()?;
        ended?;
        within("processes are left", || Ok(!is_group_left(group)))?;
        Ok(output)
    }

    /// Tracing is as it was as far as recordings change it, and there is no file but that of the recording.
    pub(crate) fn is_as_before(&self) -> Result<(), Failed> {
        let journals = names(Path::new(JOURNALS));
        check(journals == self.journals, || format!("journals are left: {journals:?}"))?;
        let left = names(self.out.path());
        check(left.iter().all(|path| *path == self.file()), || format!("left behind: {left:?}"))?;
        let state = tracing_state(&self.tracing);
        let changed = self.state.iter().zip(&state).find(|(before, now)| before != now);
        check(self.state == state, || format!("before and now: {changed:?}"))
    }

    /// All of tracing is as it was.
    pub(crate) fn all_is_as_before(&self) -> Result<(), Failed> {
        self.is_as_before()?;
        self.before.are_as_in(&self.tracing)
    }

    /// What the file of the recording has, if there is one.
    pub(crate) fn report(&self) -> Result<Option<String>, Failed> {
        if !self.file().exists() {
            return Ok(None);
        }
        success(trace_cmd().arg("report").arg(self.file())).map(Some)
    }
}

/// In a group of its own, so that all of it can be found.
pub(crate) fn grouped(mut command: Command) -> Command {
    command.process_group(0);
    command
}

/// The one line that a recording which failed says.
pub(crate) fn line_of(output: &Output) -> Result<String, Failed> {
    let text = stderr(output);
    let mut lines = text.lines();
    match (lines.next(), lines.next()) {
        (Some(line), None) => Ok(line.to_owned()),
        _ => Err(format!("not one line: {text:?}").into()),
    }
}

fn within(otherwise: &str, mut holds: impl FnMut() -> Result<bool, Failed>) -> Result<(), Failed> {
    let since = Instant::now();
    while !holds()? {
        check(since.elapsed() < DEADLINE, || otherwise.to_owned())?;
        thread::sleep(STEP);
    }
    Ok(())
}

fn names(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.path()).collect();
    names.sort();
    names
}

fn is_group_left(group: u32) -> bool {
    let of_group = |stat: String| {
        let words = stat.rsplit_once(')').map_or("", |(_, words)| words);
        words.split_whitespace().nth(2) == Some(&group.to_string())
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut stats = processes.filter_map(|one| fs::read_to_string(one.path().join("stat")).ok());
    stats.any(of_group)
}
