//! Guest directories, FIFOs, and what a VM needs.
use std::path::{Path, PathBuf};

/// The name of a guest, checked: 1 to 200 bytes, no `/`, no control characters, does not start with `.` or `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GuestName(String);

impl GuestName {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, SetupError> {
        let _ = name;
        unimplemented!()
    }
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a set-up failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// Placeholder until the module is filled.
    #[error("guest name {name:?} {why}")]
    Name {
        /// What was given.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
}

/// What to make for a guest.
#[derive(Debug, Clone, Default)]
pub struct SetupOptions {
    /// Number of guest CPUs.
    pub cpus: u32,
    /// Mode of the FIFOs (0660 unless given); directories get the matching search bits.
    pub mode: Option<u32>,
    /// Group of directory and FIFOs: a name or a number.
    pub group: Option<String>,
}

/// What a set-up did.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SetupReport {
    /// Files and directories made now.
    pub created: Vec<PathBuf>,
    /// FIFOs that were there.
    pub existing: Vec<PathBuf>,
}

/// The directory that holds sockets and FIFOs of all guests.
#[derive(Debug, Clone)]
pub struct VirtDir(PathBuf);

impl VirtDir {
    /// Where it is unless told otherwise.
    pub const DEFAULT: &'static str = "/var/lib/trace-cmd/virt";
    /// The environment variable that moves it.
    pub const ENVIRONMENT: &'static str = "TRACE_CMD_VIRT_DIR";
    /// A given directory.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
    /// `given` (the `--virt-dir` option), else the environment variable, else the default.
    pub fn locate(given: Option<&Path>) -> Self {
        let _ = given;
        unimplemented!()
    }
    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }
    /// The socket QEMU connects to.
    pub fn agent_socket(&self) -> PathBuf {
        self.0.join("agent-ctl-path")
    }
    /// The socket host tools connect to.
    pub fn manager_socket(&self) -> PathBuf {
        self.0.join("server-ctl")
    }
    /// Makes a guest's directory and FIFOs; what is already right stays.
    pub fn setup(
        &self,
        guest: &GuestName,
        options: &SetupOptions,
    ) -> Result<SetupReport, SetupError> {
        let _ = (guest, options);
        unimplemented!()
    }
    /// Removes a guest's FIFOs and directory (not other files found there).
    pub fn remove(&self, guest: &GuestName) -> Result<(), SetupError> {
        let _ = guest;
        unimplemented!()
    }
    /// Guests that are set up, sorted.
    pub fn guests(&self) -> Result<Vec<GuestName>, SetupError> {
        unimplemented!()
    }
    /// How many CPUs have FIFOs (0, 1, 2 … without a gap).
    pub fn cpus(&self, guest: &GuestName) -> Result<u32, SetupError> {
        let _ = guest;
        unimplemented!()
    }
    /// QEMU arguments, one option and its value per line-pair.
    pub fn qemu_args(&self, guest: &GuestName, cpus: u32) -> Result<Vec<String>, SetupError> {
        let _ = (guest, cpus);
        unimplemented!()
    }
    /// `<controller>` and `<channel>` elements for `<devices>`.
    pub fn libvirt_xml(&self, guest: &GuestName, cpus: u32) -> Result<String, SetupError> {
        let _ = (guest, cpus);
        unimplemented!()
    }
}
