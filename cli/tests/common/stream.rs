//! A `stream` that runs.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::listener::PATIENCE;
use super::{check, trace_cmd};

/// Its lines, each with the time it came.
pub(crate) struct Stream {
    child: Child,
    lines: Receiver<(Instant, String)>,
    /// Where what it says goes.
    said: TempDir,
}

/// How it ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// The lines that were left.
    pub(crate) lines: Vec<(Instant, String)>,
    /// What it said.
    pub(crate) said: String,
}

impl Stream {
    /// Starts it.
    pub(crate) fn start(words: &[&str]) -> Result<Self, Failed> {
        Self::of(trace_cmd().arg("stream").args(words))
    }

    /// Starts this one.
    pub(crate) fn of(stream: &mut Command) -> Result<Self, Failed> {
        let said = TempDir::new()?;
        let errors = File::create(said.path().join("stderr"))?;
        let mut child =
            stream.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).spawn()?;
        let out = child.stdout.take().ok_or("no output")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines, said })
    }

    /// What it said on standard error so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.said.path().join("stderr")).unwrap_or_default()
    }

    /// Whether a line with this in it comes within a moment.
    pub(crate) fn has_line(&self, part: &str) -> Result<bool, Failed> {
        let until = Instant::now() + Duration::from_millis(200);
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((_, line)) if line.contains(part) => return Ok(true),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Ok(false),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("it has ended: {}", self.said()).into());
                }
            }
        }
    }

    /// The next line with this in it.
    pub(crate) fn wait_for(&self, part: &str) -> Result<(Instant, String), Failed> {
        let mut lines = self.lines_until(part)?;
        lines.pop().ok_or_else(|| "no line".into())
    }

    /// All lines up to the next with this in it.
    pub(crate) fn lines_until(&self, part: &str) -> Result<Vec<(Instant, String)>, Failed> {
        let until = Instant::now() + PATIENCE;
        let mut lines = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let next = self.lines.recv_timeout(left);
            lines.push(next.map_err(|_| format!("no line with '{part}': {}", self.said()))?);
            if lines.last().is_some_and(|(_, line)| line.contains(part)) {
                return Ok(lines);
            }
        }
    }

    /// Waits for its end.
    pub(crate) fn end(mut self, within: Duration) -> Result<Ended, Failed> {
        let until = Instant::now() + within;
        let mut lines = Vec::new();
        loop {
            lines.extend(self.lines.try_iter());
            if let Some(status) = self.child.try_wait()? {
                lines.extend(self.lines.iter());
                return Ok(Ended { status, lines, said: self.said() });
            }
            check(Instant::now() < until, || format!("it does not end: {}", self.said()))?;
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it as Ctrl-C does.
    pub(crate) fn signal(&self) -> Result<(), Failed> {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGINT)?)
    }

    /// The same; the lines that are left.
    pub(crate) fn interrupt(self) -> Result<Vec<String>, Failed> {
        self.signal()?;
        let Ended { status, lines, said } = self.end(Duration::from_secs(120))?;
        check(status.success(), || format!("ended with {status}: {said}"))?;
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // A test that failed leaves one that runs.
        if let (Ok(None), Ok(pid)) = (self.child.try_wait(), i32::try_from(self.child.id())) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGINT);
            let _ = self.child.wait();
        }
    }
}

impl Ended {
    /// By how much it says that times may have been wrong.
    pub(crate) fn clock_error(&self) -> Result<u64, Failed> {
        let told = self.said.split("wrong by ").skip(1);
        let errors = told.filter_map(|rest| rest.split(' ').next()?.parse().ok());
        errors.max().ok_or_else(|| format!("no word of clocks: {}", self.said).into())
    }

    /// Whether it says that not all was in order.
    pub(crate) fn tells_of_late_ones(&self) -> bool {
        self.said.contains("events came late")
    }
}

/// The time of a line that has nanoseconds.
pub(crate) fn nanoseconds(line: &str) -> Option<u64> {
    let word = line.split_once("] ")?.1.split_whitespace().nth(1)?.strip_suffix(':')?;
    let (seconds, nanoseconds) = word.split_once('.')?;
    Some(seconds.parse::<u64>().ok()? * 1_000_000_000 + nanoseconds.parse::<u64>().ok()?)
}

/// Whether half of some times were short: this machine may have other things to do.
pub(crate) fn are_soon(mut times: Vec<Duration>, limit: Duration) -> Result<(), Failed> {
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    println!("half of the lines came within {median:?}, all within {:?}", times.last());
    check(median < limit, || format!("half of the lines came after {median:?}"))
}
