//! A guest that runs.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::command;
use super::error::{LabError, file};
use super::initramfs::Initramfs;
use super::kernel::Kernel;
use super::options::{Accel, GuestFile, GuestOptions};
use super::qemu::{self, GuestDir};
use super::requirements;
use super::shell::{Output, Shell, ShellError};
use super::stale_code::Watch;
use crate::setup::{GuestName, SetupError, SetupOptions, VirtDir};

const STARTING: Duration = Duration::from_secs(120);
const RUN_LIMIT: Duration = Duration::from_secs(240);
const CONSOLE_TAIL: usize = 4000;

/// A running guest. Dropping it kills QEMU and removes the guest's files.
#[derive(Debug)]
pub struct Guest {
    name: String,
    qemu: Mutex<Child>,
    pid: u32,
    shell: Mutex<Shell>,
    directory: GuestDir,
    _watch: Option<Watch>,
    // Kept until QEMU is gone; `None` when the files shall stay.
    _files: Option<TempDir>,
}

impl Guest {
    /// Starts QEMU with the kernel kept in [`super::cache_dir`]; returns before the guest is up.
    ///
    /// The guest's files go to a temporary directory, which stays when `TRACE_LAB_KEEP` is set.
    ///
    /// # Errors
    ///
    /// [`LabError::Missing`] when the machine lacks QEMU, busybox or a kernel for the guest;
    /// others when QEMU refuses to start.
    pub fn boot(options: GuestOptions) -> Result<Self, LabError> {
        let qemu = requirements::qemu()?;
        if options.accel == Accel::Kvm {
            requirements::kvm()?;
        }
        let kernel = match options.firmware_only {
            true => None,
            false => Some(Kernel::fetch(&super::cache_dir(), options.kernel)?),
        };
        let prefix = format!("trace-lab-{}-", options.name);
        let mut files =
            tempfile::Builder::new().prefix(&prefix).tempdir().map_err(file("creating", prefix))?;
        files.disable_cleanup(std::env::var_os("TRACE_LAB_KEEP").is_some());
        let directory = GuestDir::new(files.path());

        let trace_ports = match &options.virt_dir {
            Some(virt_dir) => set_up(virt_dir, &options)?,
            None => Vec::new(),
        };
        let image = kernel.as_ref().map(Kernel::image);
        let arguments = qemu::arguments(&options, trace_ports, image, &directory);
        if let Some(kernel) = &kernel {
            let ports = qemu::port_names(&arguments);
            write_initramfs(&options, kernel, ports, &directory.initramfs())?;
        }
        let messages = directory.messages();
        let log = File::create(&messages).map_err(file("creating", &messages))?;
        let child = Command::new(&qemu)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(file("copying", &messages))?)
            .stderr(log)
            .spawn()
            .map_err(file("running", &qemu))?;

        let mut starting = Starting { child: Some(child) };
        let shell = starting.connect(&options.name, &directory)?;
        let child = starting.child.take().ok_or_else(|| LabError::Shell {
            guest: options.name.clone(),
            problem: "QEMU was never started".into(),
        })?;
        // Code is patched under a vCPU by another one.
        let is_emulated = options.accel == Accel::Tcg && options.cpus > 1;
        let watch =
            is_emulated.then(|| Watch::start(options.name.clone(), directory.watch_socket()));
        Ok(Self {
            pid: child.id(),
            name: options.name,
            qemu: Mutex::new(child),
            shell: Mutex::new(Shell::new(shell)),
            directory,
            _watch: watch,
            _files: Some(files),
        })
    }

    /// Waits until the guest takes commands; call it once. Its client is started by then.
    ///
    /// # Errors
    ///
    /// With the end of the console when the guest does not come up in time.
    pub fn wait_ready(&self, deadline: Duration) -> Result<(), LabError> {
        let step = "booting";
        self.shell()
            .wait_ready(Instant::now() + deadline)
            .map_err(|error| self.shell_error(step, deadline, error))
    }

    /// Runs a shell command in the guest and returns what it wrote to its standard output.
    ///
    /// # Errors
    ///
    /// Also when it does not end with 0, or not within four minutes.
    pub fn run(&self, command: &str) -> Result<String, LabError> {
        let output = self.output(command, RUN_LIMIT)?;
        if output.status == 0 {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(LabError::Command {
            guest: self.name.clone(),
            command: command.to_owned(),
            status: output.status,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a shell command in the guest, which kills it when it takes longer than the limit
    /// (in whole seconds, at least one).
    ///
    /// Commands run one after the other; one that shall go on needs a `&` and its output
    /// elsewhere.
    pub fn output(&self, command: &str, limit: Duration) -> Result<Output, LabError> {
        self.shell()
            .run(command, limit)
            .map_err(|error| self.shell_error("running a command", limit, error))
    }

    /// Returns the contents of a file in the guest.
    pub fn read_file(&self, path: &str) -> Result<Vec<u8>, LabError> {
        let command = format!("cat '{}'", path.replace('\'', "'\\''"));
        let output = self.output(&command, RUN_LIMIT)?;
        if output.status == 0 {
            return Ok(output.stdout);
        }
        Err(LabError::Command {
            guest: self.name.clone(),
            command,
            status: output.status,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Connects to the host's end of one of [`GuestOptions::extra_ports`]; the guest's end is
    /// `/dev/virtio-ports/NAME`. One connection at a time.
    pub fn port(&self, name: &str) -> Result<UnixStream, LabError> {
        let path = self.directory.port_socket(name);
        UnixStream::connect(&path).map_err(file("connecting to", path))
    }

    /// Returns the UNIX socket on which QEMU speaks QMP, to one client at a time.
    pub fn qmp_socket(&self) -> PathBuf {
        self.directory.qmp_socket()
    }

    /// Returns the guest's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns QEMU's process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns the end of the guest's console and of QEMU's own messages.
    pub fn console(&self) -> String {
        console(&self.directory)
    }

    /// Returns whether QEMU still runs.
    pub fn is_running(&self) -> bool {
        matches!(self.qemu().try_wait(), Ok(None))
    }

    /// Ends the guest from the inside and waits for QEMU to end.
    ///
    /// # Errors
    ///
    /// When that takes longer than the deadline; QEMU is killed all the same.
    pub fn power_off(self, deadline: Duration) -> Result<ExitStatus, LabError> {
        // Its answer never comes: QEMU closes the port. The guest must not give it up before it has begun.
        let _ = self.output("sync; poweroff -f", deadline);
        self.wait(deadline)
    }

    /// Waits for QEMU to end, as when the guest powers itself off.
    ///
    /// # Errors
    ///
    /// When that takes longer than the deadline.
    pub fn wait(&self, deadline: Duration) -> Result<ExitStatus, LabError> {
        let end = Instant::now() + deadline;
        loop {
            if let Some(status) = self.qemu().try_wait().map_err(file("waiting for", "QEMU"))? {
                return Ok(status);
            }
            if Instant::now() > end {
                return Err(self.shell_error("powering off", deadline, ShellError::Deadline));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills QEMU, as a crash of the virtual machine would.
    pub fn kill(&self) {
        let mut qemu = self.qemu();
        let _ = qemu.kill();
        let _ = qemu.wait();
    }

    fn qemu(&self) -> MutexGuard<'_, Child> {
        self.qemu.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shell(&self) -> MutexGuard<'_, Shell> {
        self.shell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shell_error(&self, step: &'static str, deadline: Duration, error: ShellError) -> LabError {
        let (guest, console) = (self.name.clone(), self.console());
        match error {
            ShellError::Deadline => LabError::Deadline { guest, step, deadline, console },
            ShellError::Other(problem) => LabError::Shell { guest, problem },
            ShellError::Closed => match self.qemu().wait() {
                Ok(status) => LabError::Ended { guest, step, status, console },
                Err(error) => LabError::Shell { guest, problem: error.to_string() },
            },
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A QEMU that is killed unless it gets as far as listening on its sockets.
struct Starting {
    child: Option<Child>,
}

impl Starting {
    fn connect(&mut self, name: &str, directory: &GuestDir) -> Result<UnixStream, LabError> {
        let step = "starting";
        let end = Instant::now() + STARTING;
        let socket = directory.port_socket(qemu::SHELL_PORT);
        loop {
            if let Ok(stream) = UnixStream::connect(&socket) {
                return Ok(stream);
            }
            let (guest, console) = (name.to_owned(), console(directory));
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait().map_err(file("waiting for", "QEMU"))?
            {
                return Err(LabError::Ended { guest, step, status, console });
            }
            if Instant::now() > end {
                return Err(LabError::Deadline { guest, step, deadline: STARTING, console });
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn console(directory: &GuestDir) -> String {
    [directory.messages(), directory.console()]
        .iter()
        .map(|path| command::tail(&fs::read(path).unwrap_or_default(), CONSOLE_TAIL))
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

fn write_initramfs(
    options: &GuestOptions,
    kernel: &Kernel,
    ports: Vec<String>,
    path: &Path,
) -> Result<(), LabError> {
    let initramfs = initramfs(options, kernel, ports)?;
    let mut out = BufWriter::new(File::create(path).map_err(file("creating", path))?);
    initramfs.write_to(&mut out).and_then(|()| out.flush()).map_err(file("writing", path))
}

/// The first file system that the options ask for, of a guest that starts with these ports.
pub(super) fn initramfs(
    options: &GuestOptions,
    kernel: &Kernel,
    ports: Vec<String>,
) -> Result<Initramfs, LabError> {
    let mut initramfs = Initramfs::new(kernel, &options.modules)?;
    initramfs.lifetime(options.lifetime);
    initramfs.ports(ports);
    if let Some(binary) = &options.trace_cmd {
        let data = fs::read(binary).map_err(file("reading", binary))?;
        initramfs.add(GuestFile { path: "/usr/bin/trace-cmd".into(), mode: 0o755, data });
    }
    for program in &options.programs {
        initramfs.add_program(program)?;
    }
    for added in &options.files {
        initramfs.add(added.clone());
    }
    if let Some(arguments) = &options.client_args {
        initramfs.start_client(arguments);
    }
    Ok(initramfs)
}

/// Makes the guest's FIFOs, which QEMU opens when it starts, and returns the arguments for them.
fn set_up(virt_dir: &Path, options: &GuestOptions) -> Result<Vec<String>, SetupError> {
    let virt_dir = VirtDir::new(virt_dir);
    let name = GuestName::new(&options.name)?;
    virt_dir.setup(&name, &SetupOptions { cpus: options.cpus, ..SetupOptions::default() })?;
    virt_dir.qemu_args(&name, options.cpus)
}
