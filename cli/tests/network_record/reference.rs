//! The listener of the C version.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;
use trace_virt::lab::requirements;

use crate::common::listener::PATIENCE;
use crate::common::{check, free_port};

/// A listener in a process group of its own, as it leaves processes behind.
pub(crate) struct ReferenceListener {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl ReferenceListener {
    pub(crate) fn start() -> Result<Self, Failed> {
        let port = free_port()?;
        let dir = TempDir::new()?;
        let mut listen = requirements::reference()?.exact()?.reader();
        listen.args(["listen", "-p", &port.to_string(), "-d"]).arg(dir.path()).process_group(0);
        let log = fs::File::create(dir.path().join("log"))?;
        listen.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let listener = Self { child: listen.spawn()?, port, dir };
        // Asked by a connection it would take that for a client.
        until("it listens", || has_socket(port, "0A"))?;
        Ok(listener)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Waits until a client is recording.
    pub(crate) fn waits_for_client(&self) -> Result<(), Failed> {
        // Only then it has the beginning of the file.
        until("a client", || self.files(".dat").into_iter().any(is_long))
    }

    /// Its one file, when it is complete.
    pub(crate) fn file(&self) -> Result<PathBuf, Failed> {
        until("the listener's file", || {
            // Said last, behind a line for each CPU.
            let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            log.contains("bytes in size") && !has_socket(self.port, "01") && self.is_alone()
        })?;
        let files = self.files(".dat");
        let [file] = files.as_slice() else { return Err(format!("files: {files:?}").into()) };
        Ok(file.clone())
    }

    /// Whether the process of the client, and those of its CPUs, have ended.
    fn is_alone(&self) -> bool {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        children.is_ok_and(|children| {
            children.split_whitespace().all(|child| {
                let stat = fs::read_to_string(format!("/proc/{child}/stat"));
                stat.map_or(true, |stat| stat.contains(") Z "))
            })
        })
    }

    fn files(&self, part: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.dir.path()).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        paths.filter(|path| path.to_string_lossy().ends_with(part)).collect()
    }

    pub(crate) fn kill(&self) {
        let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGKILL);
    }
}

impl Drop for ReferenceListener {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

fn is_long(file: impl AsRef<Path>) -> bool {
    fs::metadata(file).is_ok_and(|file| file.len() > 100_000)
}

/// Whether a TCP socket has this port and state.
fn has_socket(port: u16, state: &str) -> bool {
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let port = format!(":{port:04X}");
    sockets.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        let is_here = words.next().is_some_and(|local| local.ends_with(&port));
        is_here && words.nth(1) == Some(state)
    })
}

pub(crate) fn until(what: &str, holds: impl Fn() -> bool) -> Result<(), Failed> {
    let since = Instant::now();
    while !holds() {
        check(since.elapsed() < PATIENCE, || format!("waited in vain: {what}"))?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
