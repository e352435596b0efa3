//! A `stream` that runs.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{check, trace_cmd};

/// Its lines, each with the time it came.
pub(crate) struct Stream {
    child: Child,
    lines: Receiver<(Instant, String)>,
    /// Where what it says goes.
    said: TempDir,
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

    /// The next line with this in it.
    pub(crate) fn wait_for(&self, part: &str) -> Result<(Instant, String), Failed> {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let next = self.lines.recv_timeout(left);
            let (at, line) = next.map_err(|_| format!("no line with '{part}': {}", self.said()))?;
            if line.contains(part) {
                return Ok((at, line));
            }
        }
    }

    /// Waits for its end; the lines that are left.
    pub(crate) fn end(
        mut self,
        within: Duration,
    ) -> Result<(ExitStatus, Vec<(Instant, String)>, String), Failed> {
        let until = Instant::now() + within;
        let mut lines = Vec::new();
        loop {
            lines.extend(self.lines.try_iter());
            if let Some(status) = self.child.try_wait()? {
                lines.extend(self.lines.iter());
                return Ok((status, lines, self.said()));
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
        let (status, lines, said) = self.end(Duration::from_secs(120))?;
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
