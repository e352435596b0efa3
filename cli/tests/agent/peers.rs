//! Agents that end with the test.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use trace_virt::lab::requirements;

use crate::common::{check, free_port, trace_cmd};

const SOON: Duration = Duration::from_secs(240);

/// Waits for a condition.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) -> Result<(), Failed> {
    let deadline = Instant::now() + SOON;
    while !holds() {
        check(Instant::now() < deadline, || format!("waited in vain: {what}"))?;
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Our agent, on a free port of this machine.
pub(crate) struct OwnAgent {
    child: Child,
    log: PathBuf,
    pub(crate) port: u16,
}

impl OwnAgent {
    pub(crate) fn start(dir: &Path, words: &[&str]) -> Result<Self, Failed> {
        let log = dir.join("agent.log");
        let mut agent = trace_cmd();
        agent.args(["agent", "--verbose"]).args(words);
        if !words.contains(&"--bind") {
            agent.args(["--bind", "127.0.0.1", "-p", "0"]);
        }
        agent.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let mut agent = Self { child: agent.spawn()?, log, port: 0 };
        until("our agent listens", || agent.log().contains("listening on"))?;
        let log = agent.log();
        let address = log.split("listening on ").nth(1).and_then(|rest| rest.lines().next());
        let port = address.and_then(|address| address.rsplit(':').next());
        agent.port = port.unwrap_or_default().parse()?;
        Ok(agent)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for a line in its log.
    pub(crate) fn says(&self, words: &str) -> Result<(), Failed> {
        until(words, || self.log().contains(words))
            .map_err(|_| format!("no {words:?} in the log: {}", self.log()).into())
    }

    /// Ends it as Ctrl-C does.
    pub(crate) fn stop(mut self) -> Result<(), Failed> {
        kill(self.pid(), Signal::SIGINT)?;
        let status = self.child.wait()?;
        check(status.success(), || format!("{status}: {}", self.log()))
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }
}

impl Drop for OwnAgent {
    fn drop(&mut self) {
        // It is asked, so that what it changed is put back.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill(self.pid(), Signal::SIGINT);
            let _ = self.child.wait();
        }
    }
}

/// The agent of the C version, in a process group of its own.
pub(crate) struct ReferenceAgent {
    child: Child,
    pub(crate) port: u16,
}

impl ReferenceAgent {
    pub(crate) fn start(dir: &Path) -> Result<Self, Failed> {
        let port = free_port()?;
        let mut agent = requirements::reference()?.exact()?.recorder()?;
        agent.args(["agent", "-N", "127.0.0.1", "-p", &port.to_string()]).process_group(0);
        let log = File::create(dir.join("reference.log"))?;
        agent.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let agent = Self { child: agent.spawn()?, port };
        // Asked by a connection it would take that for a host.
        until("the C agent listens", || listens(port))?;
        Ok(agent)
    }

    /// Waits until its session is over.
    pub(crate) fn is_alone(&self) -> Result<(), Failed> {
        let pid = self.child.id();
        until("the C agent's session ends", || {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            children.is_ok_and(|children| {
                children.split_whitespace().all(|child| {
                    let stat = fs::read_to_string(format!("/proc/{child}/stat"));
                    stat.map_or(true, |stat| stat.contains(") Z "))
                })
            })
        })
    }
}

impl Drop for ReferenceAgent {
    fn drop(&mut self) {
        if let Ok(group) = i32::try_from(self.child.id()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

/// Whether anybody listens on a TCP port of this machine.
fn listens(port: u16) -> bool {
    let wanted = format!(":{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    table.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next().is_some_and(|local| local.ends_with(&wanted)) && words.nth(1) == Some("0A")
    })
}
