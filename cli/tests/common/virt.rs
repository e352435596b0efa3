//! Guests, and the server between them and us.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use trace_virt::host::{self, GuestState, GuestStatus};
use trace_virt::lab::Guest;
use trace_virt::setup::VirtDir;

use super::{check, trace_cmd};

/// Emulated machines of several tests at a time keep each other from getting on.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A library that the C version loads when it ends its threads.
pub(crate) const LIBGCC: &str = "/lib/x86_64-linux-gnu/libgcc_s.so.1";

/// For what takes a moment, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(240);

/// A server that ends with the test.
pub(crate) struct Server(Child);

impl Server {
    /// Starts it and waits until it serves.
    pub(crate) fn start(virt_dir: &Path) -> Result<Self, Failed> {
        let log = File::create(virt_dir.join("server.log"))?;
        let mut server = trace_cmd();
        server.args(["virt-server", "--virt-dir"]).arg(virt_dir).stdout(Stdio::null()).stderr(log);
        let server = Self(server.spawn()?);
        Self::wait_for(virt_dir, "serving guests")?;
        Ok(server)
    }

    /// Waits until a guest's client answers.
    pub(crate) fn wait_for_client(virt_dir: &Path) -> Result<(), Failed> {
        Self::wait_for(virt_dir, "its client answers")
    }

    /// Waits for words in its log.
    pub(crate) fn wait_for(virt_dir: &Path, words: &str) -> Result<(), Failed> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = fs::read_to_string(virt_dir.join("server.log"))?;
            if log.contains(words) {
                return Ok(());
            }
            check(Instant::now() < deadline, || format!("no {words:?} in the log: {log}"))?;
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a guest can be recorded: its client has answered the last question.
    pub(crate) fn wait_until_ready(virt_dir: &Path, guest: &str) -> Result<(), Failed> {
        let deadline = Instant::now() + PATIENCE;
        let dir = VirtDir::new(virt_dir);
        loop {
            let guests = host::list(&dir)?;
            let is_ready = |one: &GuestStatus| one.name == guest && one.state == GuestState::Ready;
            if guests.iter().any(is_ready) {
                return Ok(());
            }
            check(Instant::now() < deadline, || format!("{guest} is not ready: {guests:?}"))?;
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap_or(i32::MAX))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill(self.pid(), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// QEMU's monitor.
pub(crate) struct Monitor {
    to: UnixStream,
    from: BufReader<UnixStream>,
}

impl Monitor {
    /// Connects to a guest's.
    pub(crate) fn connect(guest: &Guest) -> Result<Self, Failed> {
        let to = UnixStream::connect(guest.qmp_socket())?;
        to.set_read_timeout(Some(PATIENCE))?;
        let from = BufReader::new(to.try_clone()?);
        let mut monitor = Self { to, from };
        monitor.run("qmp_capabilities")?;
        Ok(monitor)
    }

    /// Runs a command without arguments, such as `stop` or `cont`.
    pub(crate) fn run(&mut self, command: &str) -> Result<(), Failed> {
        writeln!(self.to, "{{\"execute\": \"{command}\"}}")?;
        let mut line = String::new();
        // Events and the greeting come in between.
        while !line.contains("\"return\"") {
            line.clear();
            let count = self.from.read_line(&mut line)?;
            check(count > 0 && !line.contains("\"error\""), || format!("{command}: {line}"))?;
        }
        Ok(())
    }
}
