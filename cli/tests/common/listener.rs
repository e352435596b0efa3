//! The listener under test: a process, what it says, and the files it writes.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{check, trace_cmd};

/// How long a loaded machine may take for what takes no time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// A listener on a port of its own, with a directory of its own.
pub(crate) struct Listener {
    child: Child,
    dir: TempDir,
    said: Arc<Said>,
    /// Who hears what it says.
    hearing: Vec<JoinHandle<()>>,
    /// Where it listens, as it says.
    pub(crate) address: String,
}

/// Lines of a process, from both of its streams.
#[derive(Default)]
struct Said {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Listener {
    /// Listens on loopback.
    pub(crate) fn start(words: &[&str]) -> Result<Self, Failed> {
        Self::start_in(TempDir::new()?, &[&["--bind", "127.0.0.1", "-p", "0"], words].concat())
    }

    /// Listens as `words` say, and writes to `dir`.
    pub(crate) fn start_in(dir: TempDir, words: &[&str]) -> Result<Self, Failed> {
        let mut command = trace_cmd();
        command.arg("listen").args(words);
        Self::spawn(dir, command)
    }

    /// Runs what is a listener in the end, and writes to `dir`.
    pub(crate) fn spawn(dir: TempDir, mut command: Command) -> Result<Self, Failed> {
        command.arg("-d").arg(dir.path()).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let said = Arc::new(Said::default());
        let out = child.stdout.take().map(|out| said.hear(out));
        let err = child.stderr.take().map(|err| said.hear(err));
        let hearing = out.into_iter().chain(err).collect();
        let mut listener = Self { child, dir, said, hearing, address: String::new() };
        let line = listener.wait_for("Listening on ")?;
        listener.address = line.trim_start_matches("Listening on ").to_owned();
        Ok(listener)
    }

    /// The port behind its address.
    pub(crate) fn port(&self) -> Result<u16, Failed> {
        let port = self.address.rsplit(':').next().and_then(|port| port.parse().ok());
        port.ok_or_else(|| format!("no port in {:?}", self.address).into())
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Waits for a line with `part` in it.
    pub(crate) fn wait_for(&self, part: &str) -> Result<String, Failed> {
        let until = Instant::now() + PATIENCE;
        let mut lines = self.said.lines.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(part)) {
                return Ok(line.clone());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("no {part:?} in {lines:#?}").into());
            }
            let waited = self.said.more.wait_timeout(lines, left);
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// All it said.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for what became of the recorder whose control connection came from `port`.
    pub(crate) fn outcome(&self, port: u16) -> Result<String, Failed> {
        self.wait_for(&format!(":{port}: "))
    }

    /// The file of that recorder.
    pub(crate) fn file(&self, port: u16) -> PathBuf {
        self.dir.path().join(format!("trace.localhost:{port}.dat"))
    }

    /// The names in its directory.
    pub(crate) fn names(&self) -> Result<Vec<String>, Failed> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.dir.path())? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// A number of its `/proc/PID/status`: KiB, or threads.
    pub(crate) fn status(&self, key: &str) -> Result<u64, Failed> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.ok_or_else(|| format!("no {key} in {text}").into())
    }

    /// Waits until only the thread that accepts is left.
    pub(crate) fn is_idle(&self) -> Result<(), Failed> {
        eventually("a thread is left", || Ok(self.status("Threads")? == 1))
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Failed> {
        Ok(kill(Pid::from_raw(self.child.id().try_into()?), signal)?)
    }

    /// Waits for its end, and until all is heard that it said.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus, Failed> {
        let mut status = None;
        eventually("the listener does not end", || {
            status = self.child.try_wait()?;
            Ok(status.is_some())
        })?;
        for hearing in self.hearing.drain(..) {
            hearing.join().map_err(|_| "what it says was not heard")?;
        }
        status.ok_or_else(|| "no status".into())
    }

    /// Ends it, well.
    pub(crate) fn end(&mut self, signal: Signal) -> Result<(), Failed> {
        self.signal(signal)?;
        let status = self.wait()?;
        check(status.success(), || format!("{signal}: {status}: {:#?}", self.said()))
    }

    /// A connection to it.
    pub(crate) fn connect(&self) -> Result<TcpStream, Failed> {
        Ok(TcpStream::connect(("127.0.0.1", self.port()?))?)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Said {
    fn hear(self: &Arc<Self>, from: impl Read + Send + 'static) -> JoinHandle<()> {
        let said = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                said.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                said.more.notify_all();
            }
        })
    }
}

/// Waits until something holds.
pub(crate) fn eventually(
    otherwise: &str,
    mut holds: impl FnMut() -> Result<bool, Failed>,
) -> Result<(), Failed> {
    let until = Instant::now() + PATIENCE;
    while !holds()? {
        check(Instant::now() < until, || otherwise.to_owned())?;
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
