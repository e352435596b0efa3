//! A libvirt of its own, beside that of the machine.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::command;
use super::error::{LabError, file};
use super::requirements;

const STARTING: Duration = Duration::from_secs(240);
const ENDING: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// A running libvirtd. Dropping it ends the VMs that it started, and then itself.
#[derive(Debug)]
pub struct Libvirtd {
    process: Child,
    files: TempDir,
}

impl Libvirtd {
    /// Starts it, with configuration, state and sockets of its own; returns when it answers.
    ///
    /// # Errors
    ///
    /// [`LabError::Missing`] when the machine has no libvirt; others when it does not start.
    pub fn start() -> Result<Self, LabError> {
        requirements::libvirt()?;
        let files = tempfile::Builder::new()
            .prefix("trace-lab-libvirt-")
            .tempdir()
            .map_err(file("creating", "trace-lab-libvirt"))?;
        let messages = files.path().join("messages");
        let log = File::create(&messages).map_err(file("creating", &messages))?;
        let mut unshare = Command::new("unshare");
        unshare
            .args(["--mount", "sh", "-c", include_str!("libvirtd.sh"), "libvirtd"])
            .arg(files.path())
            .env("PATH", search_path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(file("copying", &messages))?)
            .stderr(log);
        let process = unshare.spawn().map_err(file("running", "unshare"))?;
        let mut libvirtd = Self { process, files };
        libvirtd.wait_until_it_answers(&messages)?;
        Ok(libvirtd)
    }

    fn wait_until_it_answers(&mut self, messages: &Path) -> Result<(), LabError> {
        let end = Instant::now() + STARTING;
        loop {
            let Err(error) = self.virsh(&["list"]) else { return Ok(()) };
            let status = self.process.try_wait().map_err(file("waiting for", "libvirtd"))?;
            if let Some(status) = status {
                let stderr = command::tail(&fs::read(messages).unwrap_or_default(), 4000);
                return Err(LabError::Program { program: "libvirtd".into(), status, stderr });
            }
            if Instant::now() > end {
                return Err(error);
            }
            thread::sleep(PAUSE);
        }
    }

    /// The URI by which virsh finds it, as in `LIBVIRT_DEFAULT_URI`.
    pub fn uri(&self) -> String {
        format!("qemu:///system?socket={}/sockets/libvirt-sock", self.files.path().display())
    }

    /// Runs virsh and returns what it prints.
    ///
    /// # Errors
    ///
    /// [`LabError::Program`] with virsh's own words.
    pub fn virsh(&self, words: &[&str]) -> Result<String, LabError> {
        let mut virsh = Command::new("virsh");
        virsh.args(["-q", "-c", &self.uri()]).args(words).env("LC_ALL", "C");
        command::output(&mut virsh).map(|output| String::from_utf8_lossy(&output).into_owned())
    }

    /// Makes a domain whose machine is emulated and stays in its firmware.
    ///
    /// # Errors
    ///
    /// libvirt refuses it.
    pub fn define(&self, name: &str, cpus: u32, devices: &str) -> Result<(), LabError> {
        let path = self.files.path().join(format!("{name}.xml"));
        fs::write(&path, domain_xml(name, cpus, devices)).map_err(file("writing", &path))?;
        self.virsh(&["define", &path.to_string_lossy()]).map(drop)
    }
}

/// A domain with nothing but the given devices.
pub fn domain_xml(name: &str, cpus: u32, devices: &str) -> String {
    format!(
        "<domain type='qemu'>\n<name>{name}</name>\n<memory unit='MiB'>64</memory>\n<vcpu>{cpus}</vcpu>\n\
         <os><type arch='x86_64' machine='q35'>hvm</type></os>\n<devices>\n{devices}</devices>\n</domain>\n"
    )
}

/// libvirtd is among the programs of the administrator.
fn search_path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

impl Drop for Libvirtd {
    fn drop(&mut self) {
        // VMs outlive their libvirt.
        for name in self.virsh(&["list", "--name"]).unwrap_or_default().split_whitespace() {
            let _ = self.virsh(&["destroy", name]);
        }
        let pid = i32::try_from(self.process.id()).map(Pid::from_raw);
        let _ = pid.map(|pid| kill(pid, Signal::SIGTERM));
        let end = Instant::now() + ENDING;
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < end {
            thread::sleep(PAUSE);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
