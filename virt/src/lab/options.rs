//! What a guest shall be like.

use std::path::PathBuf;
use std::time::Duration;

use super::kernel::Flavor;

/// How QEMU runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Accel {
    /// By translation: works everywhere, as any user.
    #[default]
    Tcg,
    /// By the processor: `/dev/kvm` has to be there and able to run a whole kernel.
    Kvm,
}

/// A file of the guest's first file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestFile {
    /// Absolute path in the guest; directories are made as needed.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Contents.
    pub data: Vec<u8>,
}

/// A guest to boot. [`GuestOptions::new`] gives the usual ones.
#[derive(Debug, Clone)]
pub struct GuestOptions {
    /// QEMU's `-name`, and the guest's directory in `virt_dir`.
    pub name: String,
    /// Its kernel.
    pub kernel: Flavor,
    /// Number of vCPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mb: u32,
    /// Where the host's virt-server has its tree. The guest gets the control port and a
    /// `trace-path-cpuN` port for each vCPU; missing FIFOs are made. No trace ports without it.
    pub virt_dir: Option<PathBuf>,
    /// A static `trace-cmd` for the guest's `/usr/bin`, such as [`super::static_binary`] builds.
    pub trace_cmd: Option<PathBuf>,
    /// Arguments after `trace-cmd virt-server --client`, which is started once the guest is up.
    /// It is not started without.
    pub client_args: Option<Vec<String>>,
    /// More virtio-serial ports, each a UNIX socket on the host: see [`super::Guest::port`].
    pub extra_ports: Vec<String>,
    /// More kernel modules, such as `vmw_vsock_virtio_transport`.
    pub modules: Vec<String>,
    /// More files.
    pub files: Vec<GuestFile>,
    /// Programs of the host that the guest shall have under the same path, with their libraries.
    pub programs: Vec<PathBuf>,
    /// How QEMU runs it.
    pub accel: Accel,
    /// QEMU's machine type with its properties.
    pub machine: String,
    /// More words for the kernel's command line.
    pub kernel_args: String,
    /// More arguments for QEMU.
    pub qemu_args: Vec<String>,
    /// Whether the guest comes back after a reboot, instead of ending.
    pub reboot: bool,
    /// Leaves the guest in its firmware, without a kernel: it never gets ready, but its vCPUs run.
    pub firmware_only: bool,
    /// After how long the guest powers itself off, in case nobody else does.
    pub lifetime: Duration,
}

impl GuestOptions {
    /// One vCPU, 512 MiB, TCG, no trace ports, no `trace-cmd`, half an hour to live.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kernel: Flavor::default(),
            cpus: 1,
            memory_mb: 512,
            virt_dir: None,
            trace_cmd: None,
            client_args: None,
            extra_ports: Vec::new(),
            modules: Vec::new(),
            files: Vec::new(),
            programs: Vec::new(),
            accel: Accel::default(),
            machine: "q35".into(),
            kernel_args: String::new(),
            qemu_args: Vec::new(),
            reboot: false,
            firmware_only: false,
            lifetime: Duration::from_secs(1800),
        }
    }
}
