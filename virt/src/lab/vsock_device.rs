//! A vsock device between a guest and its host, by vhost-device-vsock: no kernel module of the host is needed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::error::{LabError, Missing, file};
use super::options::GuestOptions;

const PROGRAM: &str = "vhost-device-vsock";

/// How long its socket may take.
const START: Duration = Duration::from_secs(240);

/// The device's process, ended when it is dropped.
#[derive(Debug)]
pub struct VsockDevice {
    child: Child,
    directory: TempDir,
}

impl VsockDevice {
    /// Asks for the program.
    ///
    /// # Errors
    ///
    /// [`Missing::VsockDevice`].
    pub fn find() -> Result<(), Missing> {
        let version = Command::new(PROGRAM).arg("--version").output();
        version.map(drop).map_err(|_| Missing::VsockDevice)
    }

    /// Starts a device for a guest whose context identifier is 3.
    ///
    /// # Errors
    ///
    /// [`LabError::Device`] with its last words when it does not come up.
    pub fn start() -> Result<Self, LabError> {
        let directory = tempfile::tempdir().map_err(file("making", &std::env::temp_dir()))?;
        let path = |name| directory.path().join(name);
        let option = |option, name| format!("--{option}={}", path(name).display());
        let log = File::create(path("log")).map_err(file("creating", &path("log")))?;
        let other = log.try_clone().map_err(file("opening", &path("log")))?;
        let child = Command::new(PROGRAM)
            .args(["--guest-cid=3", &option("socket", "vhost"), &option("uds-path", "vm.vsock")])
            .stdin(Stdio::null())
            .stdout(other)
            .stderr(log)
            .spawn()
            .map_err(file("running", Path::new(PROGRAM)))?;
        let mut device = Self { child, directory };
        let until = Instant::now() + START;
        while !listens(&device.directory.path().join("vhost")) {
            let has_ended = !matches!(device.child.try_wait(), Ok(None));
            if has_ended || Instant::now() > until {
                let log = std::fs::read_to_string(device.directory.path().join("log"));
                return Err(LabError::Device { log: log.unwrap_or_default() });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(device)
    }

    /// Plugs it into a guest that is to be booted; the memory must have its final size.
    pub fn plug_into(&self, options: &mut GuestOptions) {
        options.modules.push("vmw_vsock_virtio_transport".to_owned());
        "q35,memory-backend=mem0".clone_into(&mut options.machine);
        let socket = self.directory.path().join("vhost");
        options.qemu_args.extend([
            "-object".to_owned(),
            format!("memory-backend-memfd,id=mem0,size={}M,share=on", options.memory_mb),
            "-chardev".to_owned(),
            format!("socket,id=vsock0,path={}", socket.display()),
            "-device".to_owned(),
            "vhost-user-vsock-pci,chardev=vsock0".to_owned(),
        ]);
    }

    /// The UNIX socket behind which the guest's ports are; those of the host are beside it, as `PATH_PORT`.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("vm.vsock")
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// Whether a UNIX socket takes connections, which its path alone does not say; to connect would be taken for the guest's
/// monitor.
fn listens(path: &Path) -> bool {
    /// The kernel's flag of sockets that do.
    const ACCEPTS: &str = "00010000";
    let table = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let path = path.to_string_lossy();
    table.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.nth(3) == Some(ACCEPTS) && words.nth(3) == Some(&*path)
    })
}

impl Drop for VsockDevice {
    fn drop(&mut self) {
        // It may have ended with its guest.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
