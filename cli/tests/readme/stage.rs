//! Where the commands of a task are run.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use trace_virt::lab::{Guest, GuestFile, GuestOptions, VsockDevice};

use crate::common::listener::eventually;
use crate::common::virt::Server;
use crate::common::{check, free_port, stderr};
use crate::tasks::{Line, Task};

const BINARY: &str = env!("CARGO_BIN_EXE_trace-cmd");

/// For a command in a guest of a machine with much else to do.
const LIMIT: Duration = Duration::from_secs(240);

/// What those say that run all the time, once they do.
const BEGINNINGS: [(&str, &str); 3] =
    [("listen", "Listening on "), ("virt-server", "serving guests"), ("agent", "listening on ")];

/// A directory with the program on the path, whoever runs all the time, and a guest once there is one.
pub(crate) struct Stage {
    /// What README calls otherwise, and its name here.
    names: Vec<(&'static str, String)>,
    dir: TempDir,
    services: Vec<Service>,
    guest: Option<Guest>,
    vsock: Option<VsockDevice>,
}

impl Stage {
    pub(crate) fn new() -> Result<Self, Failed> {
        let dir = TempDir::new()?;
        for name in ["bin", "virt", "work", "received"] {
            fs::create_dir(dir.path().join(name))?;
        }
        symlink(BINARY, dir.path().join("bin/trace-cmd"))?;
        let port = free_port()?;
        let names = vec![
            ("./program", "ls".to_owned()),
            ("| less", "| cat".to_owned()),
            ("sleep 10", "sleep 0.2".to_owned()),
            ("sleep 5", "sleep 0.2".to_owned()),
            ("sleep 1", "sleep 0.2".to_owned()),
            ("12345", port.to_string()),
            ("thishost", "127.0.0.1".to_owned()),
            ("/var/trace", dir.path().join("received").display().to_string()),
            ("server.dat", "trace.dat".to_owned()),
            ("client.dat", "trace-guest1.dat".to_owned()),
            // Emulated machines do better with one CPU.
            ("-c 2", "-c 1".to_owned()),
        ];
        Ok(Self { names, dir, services: Vec::new(), guest: None, vsock: None })
    }

    /// The device through which the guest's vsock is reached; the guest must not run yet.
    pub(crate) fn with_vsock(mut self) -> Result<Self, Failed> {
        let device = VsockDevice::start()?;
        self.names.push(("guest1@3", format!("unix:{}:823", device.path().display())));
        self.vsock = Some(device);
        Ok(self)
    }

    /// Where files without a directory are.
    pub(crate) fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// Where those are that other machines sent.
    pub(crate) fn received(&self) -> Result<Vec<PathBuf>, Failed> {
        let entries = fs::read_dir(self.dir.path().join("received"))?;
        Ok(entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?)
    }

    /// Runs all commands of a task, as it says.
    pub(crate) fn run(&mut self, task: &Task) -> Result<(), Failed> {
        for line in &task.lines {
            self.line(line).map_err(|error| {
                let why = error.message().unwrap_or_default();
                format!("task {}: {}: {why}", task.number, line.command)
            })?;
        }
        Ok(())
    }

    fn line(&mut self, line: &Line) -> Result<(), Failed> {
        if line.command.starts_with("trace-cmd sql ") && !cfg!(feature = "sql") {
            return Ok(());
        }
        let mut command = line.command.clone();
        for (name, here) in &self.names {
            command = command.replace(name, here);
        }
        match (line.note.contains("in the guest"), line.note.contains("all the time")) {
            (false, false) if line.note.contains("until Ctrl-C") => self.interrupted(&command)?,
            (false, false) => self.whole(&command)?,
            (false, true) => self.service(&command)?,
            (true, all_the_time) => return self.in_guest(&command, all_the_time),
        }
        self.output_is_there(&command)
    }

    fn shell(&self, command: &str) -> Result<Command, Failed> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let own = [self.dir.path().join("bin")];
        let path = std::env::join_paths(own.into_iter().chain(std::env::split_paths(&path)))?;
        let mut shell = Command::new("bash");
        shell.args(["-o", "pipefail", "-c", command]).current_dir(self.work()).env("PATH", path);
        shell.env_remove("TRACE_CMD_COMPAT").env("LC_ALL", "C").stdin(Stdio::null());
        shell.env("TRACE_CMD_VIRT_DIR", self.virt());
        Ok(shell)
    }

    fn virt(&self) -> PathBuf {
        self.dir.path().join("virt")
    }

    fn whole(&self, command: &str) -> Result<(), Failed> {
        let output = self.shell(command)?.output()?;
        check(output.status.success(), || format!("{}: {}", output.status, stderr(&output)))
    }

    fn interrupted(&self, command: &str) -> Result<(), Failed> {
        let mut service = self.start(command, "Hit Ctrl^C")?;
        service.end(Signal::SIGINT)
    }

    fn service(&mut self, command: &str) -> Result<(), Failed> {
        let service = self.start(command, beginning(command)?)?;
        self.services.push(service);
        Ok(())
    }

    /// Starts what runs on, and waits until it says that it does.
    fn start(&self, command: &str, says: &str) -> Result<Service, Failed> {
        let log = self.dir.path().join(format!("log{}", self.services.len()));
        let mut shell = self.shell(&format!("exec {command}"))?;
        let file = File::create(&log)?;
        let child = shell.stdout(file.try_clone()?).stderr(file).spawn()?;
        let mut service = Service { child, log };
        eventually("it does not begin", || {
            let ended = service.child.try_wait()?;
            let said = fs::read_to_string(&service.log)?;
            check(ended.is_none(), || format!("{ended:?}: {said}"))?;
            Ok(said.contains(says))
        })?;
        Ok(service)
    }

    fn in_guest(&mut self, command: &str, all_the_time: bool) -> Result<(), Failed> {
        let guest = match self.guest.take() {
            Some(guest) => guest,
            None => self.boot()?,
        };
        let guest = self.guest.insert(guest);
        if !all_the_time {
            let output = guest.output(&format!("cd /tmp; {command} 2>&1"), LIMIT)?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            return check(output.status == 0, || format!("status {}: {said}", output.status));
        }
        guest.run(&format!("{command} >/tmp/log 2>&1 &"))?;
        if command.contains("--client") {
            // Whether it is there, the host says.
            return Server::wait_until_ready(&self.dir.path().join("virt"), "guest1");
        }
        let says = beginning(command)?;
        let mut said = String::new();
        let begun = eventually("it does not begin", || {
            said = guest.run("cat /tmp/log")?;
            Ok(said.contains(says))
        });
        begun.map_err(|_| format!("it does not begin: {said}").into())
    }

    /// A guest with the program and those that README runs there.
    fn boot(&self) -> Result<Guest, Failed> {
        let script = |name: &str, text: String| GuestFile {
            path: format!("/usr/bin/{name}"),
            mode: 0o755,
            data: format!("#!/bin/sh\n{text}\n").into_bytes(),
        };
        let work = || "ls -l /sys/module /dev >/dev/null".to_owned();
        let mut options = GuestOptions::new("guest1");
        options.memory_mb = 1024;
        options.virt_dir = Some(self.virt());
        options.programs = vec![BINARY.into()];
        // As `virt-server --dom` says.
        options.qemu_args = ["-name", "guest=guest1,debug-threads=on"].map(str::to_owned).to_vec();
        options.files = vec![
            script("trace-cmd", format!("exec {BINARY} \"$@\"")),
            script("app", work()),
            script("make", work()),
        ];
        if let Some(device) = &self.vsock {
            device.plug_into(&mut options);
        }
        let guest = Guest::boot(options)?;
        guest.wait_ready(LIMIT)?;
        Ok(guest)
    }

    /// What is behind `-o`, or its pieces.
    fn output_is_there(&self, command: &str) -> Result<(), Failed> {
        let Some((_, output)) = command.split_once(" -o ") else { return Ok(()) };
        let output = output.split_whitespace().next().unwrap_or_default();
        let begins = |path: &Path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(output))
        };
        let is_planned = command.contains("--dry-run");
        let mut entries = fs::read_dir(self.work())?;
        let found = entries.any(|entry| entry.is_ok_and(|entry| begins(&entry.path())));
        check(found != is_planned, || match is_planned {
            true => format!("{output} was made"),
            false => format!("{output} is not there"),
        })
    }
}

/// What it says when it has begun.
fn beginning(command: &str) -> Result<&'static str, Failed> {
    let words = command.strip_prefix("trace-cmd ").unwrap_or_default();
    let found = BEGINNINGS.iter().find(|(begins, _)| words.starts_with(begins));
    found.map(|(_, says)| *says).ok_or_else(|| "it runs all the time, and says what?".into())
}

/// What runs until it is told to end.
struct Service {
    child: Child,
    log: PathBuf,
}

impl Service {
    fn end(&mut self, signal: Signal) -> Result<(), Failed> {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal)?;
        let mut status = None;
        eventually("it does not end", || {
            status = self.child.try_wait()?;
            Ok(status.is_some())
        })?;
        let said = fs::read_to_string(&self.log)?;
        check(status.is_some_and(|status| status.success()), || format!("{status:?}: {said}"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}
