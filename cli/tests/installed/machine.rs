//! A machine with systemd, made of namespaces.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use libtest_mimic::Failed;
use tempfile::TempDir;
use trace_virt::lab::{Missing, requirements};

use crate::common::listener::eventually;
use crate::common::{stderr, success};

const SYSTEMD: &str = "/usr/lib/systemd/systemd";

/// It ends with this value, and nothing of it stays.
pub(crate) struct Machine {
    outside: Child,
    /// Its first process, as others see it.
    init: u32,
    _dir: TempDir,
}

impl Machine {
    /// Asks for all that it needs.
    pub(crate) fn find() -> Result<(), Missing> {
        requirements::root()?;
        if !Path::new(SYSTEMD).exists() {
            return Err(Missing::Program { program: "systemd", package: "systemd" });
        }
        let lacks = |reason: String| Missing::Systemd(reason);
        let dir = TempDir::new().map_err(|error| lacks(error.to_string()))?;
        let output = first_process(dir.path(), "/bin/true", &[]).output();
        let output = output.map_err(|error| lacks(error.to_string()))?;
        let reason = || lacks(stderr(&output).lines().next().unwrap_or_default().to_owned());
        if output.status.success() { Ok(()) } else { Err(reason()) }
    }

    /// Starts systemd, and waits until services can be started.
    pub(crate) fn boot() -> Result<Self, Failed> {
        let dir = TempDir::new()?;
        let words = ["--unit=basic.target", "--log-target=journal"];
        let mut systemd = first_process(dir.path(), SYSTEMD, &words);
        let outside = systemd.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut machine = Self { outside, init: 0, _dir: dir };
        let id = machine.outside.id();
        eventually("it does not boot", || {
            if machine.init == 0 {
                let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
                machine.init = children.trim().parse().unwrap_or_default();
                return Ok(false);
            }
            // Before that it looks as this machine does, which may have a systemd as well.
            let name = fs::read_to_string(format!("/proc/{}/comm", machine.init))?;
            if name.trim() != "systemd" {
                return Ok(false);
            }
            Ok(machine.output(&["systemctl", "is-active", "basic.target"])?.status.success())
        })?;
        Ok(machine)
    }

    /// A program of this machine in that one's network.
    pub(crate) fn in_its_network(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.init.to_string(), "-n", "--", program]);
        command
    }

    /// What a command there prints, if it ends well.
    pub(crate) fn run(&self, words: &[&str]) -> Result<String, Failed> {
        success(&mut self.command(words))
    }

    /// How a command there ends.
    pub(crate) fn output(&self, words: &[&str]) -> Result<Output, Failed> {
        Ok(self.command(words).output()?)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args([
            "-t",
            &self.init.to_string(),
            "-m",
            "-p",
            "-n",
            "-u",
            "-i",
            "-C",
            "-r",
            "-w/",
        ]);
        command.args(["--", "/usr/bin/env", "-i", "LC_ALL=C"]);
        command.arg("PATH=/usr/sbin:/usr/bin:/sbin:/bin").args(words).stdin(Stdio::null());
        command
    }

    /// One of its files, as this machine sees it.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its first process goes with who started it, and all others with that one.
        let _ = self.outside.kill();
        let _ = self.outside.wait();
    }
}

fn first_process(dir: &Path, program: &str, words: &[&str]) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/installed/machine.sh");
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup"]);
    unshare.args(["--fork", "--kill-child", "bash"]).arg(script).arg(dir).arg(program).args(words);
    unshare.stdin(Stdio::null());
    unshare
}
