//! What a guest needs on the host before it can be traced: a directory, two FIFOs per CPU, and ports in its VM.
//!
//! ```text
//! <virt-dir>/agent-ctl-path                    UNIX socket, QEMU connects (all guests)
//! <virt-dir>/server-ctl                        UNIX socket, host tools connect
//! <virt-dir>/GUEST/trace-path-cpuN.in, .out    FIFOs: host to guest (unused), guest to host
//! ```

mod fifos;
mod hotplug;
pub(crate) mod machine;
mod name;
mod vm;

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;

pub(crate) use fifos::find_group;
pub use hotplug::{HotplugError, HotplugReport};
pub use name::GuestName;
pub use vm::Channel;

/// Ports of this name carry control messages.
pub const CONTROL_PORT: &str = "agent-ctl-path";
/// What a data port may be called, followed by the CPU: ours, and that of `trace-cmd setup-guest`.
pub const DATA_PORTS: [&str; 2] = ["trace-path-cpu", "trace-pipe-cpu"];
/// More CPUs than a guest can have.
pub const MAX_CPUS: u32 = 4096;

const FIFO_MODE: u32 = 0o660;

/// Why a guest could not be set up, or what was set up is not usable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The name cannot be a directory's, or would lead out of it.
    #[error("guest name {name:?} {why}")]
    Name {
        /// What was given.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A guest without CPUs, or with too many.
    #[error("{cpus} CPUs: between 1 and {MAX_CPUS} are possible")]
    Cpus {
        /// What was given.
        cpus: u32,
    },
    /// A mode with more than permission bits.
    #[error("mode {mode:o}: only permission bits are possible (up to 777)")]
    Mode {
        /// What was given.
        mode: u32,
    },
    /// No such group.
    #[error("no group {group:?}")]
    Group {
        /// What was given.
        group: String,
    },
    /// Something else is where a FIFO or directory should be.
    #[error("{} exists and is not a {expected}", path.display())]
    Kind {
        /// What is in the way.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
    },
    /// The directory is not there.
    #[error("guest {guest} is not set up: no directory {}", path.display())]
    NotSetUp {
        /// The guest.
        guest: String,
        /// Its directory.
        path: PathBuf,
    },
    /// A VM or a recording still uses what should be removed.
    #[error("{} is open: the VM or a recording uses it", path.display())]
    InUse {
        /// A FIFO.
        path: PathBuf,
    },
    /// A character that would change the meaning of a QEMU option.
    #[error("path {path:?} cannot be written as a QEMU or libvirt option")]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl SetupError {
    fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { action, path: path.to_owned(), source: source.into() }
    }
}

/// What to make for a guest.
#[derive(Debug, Clone, Default)]
pub struct SetupOptions {
    /// Number of guest CPUs.
    pub cpus: u32,
    /// Mode of the FIFOs (0660 unless given); the guest's directory gets search bits where the mode has read bits.
    pub mode: Option<u32>,
    /// Group of the directory and its FIFOs: a name or a number. Unless given, the maker's.
    pub group: Option<String>,
}

/// What a set-up did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetupReport {
    /// Files and directories made now.
    pub created: Vec<PathBuf>,
    /// Files and directories that were there, and were given mode and group if those were asked for.
    pub existing: Vec<PathBuf>,
}

/// The directory that holds the sockets and the FIFOs of all guests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtDir(PathBuf);

impl Default for VirtDir {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}

impl VirtDir {
    /// Where it is unless told otherwise.
    pub const DEFAULT: &'static str = "/var/lib/trace-cmd/virt";
    /// The environment variable that moves it.
    pub const ENVIRONMENT: &'static str = "TRACE_CMD_VIRT_DIR";

    /// A given directory.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// `given` (the `--virt-dir` option), else the environment variable, else the default.
    #[must_use]
    pub fn locate(given: Option<&Path>) -> Self {
        match (given, std::env::var_os(Self::ENVIRONMENT)) {
            (Some(path), _) => Self::new(path),
            (None, Some(path)) if !path.is_empty() => Self::new(path),
            (None, _) => Self::default(),
        }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The socket QEMU connects to.
    #[must_use]
    pub fn agent_socket(&self) -> PathBuf {
        self.0.join(CONTROL_PORT)
    }

    /// The socket host tools connect to.
    #[must_use]
    pub fn manager_socket(&self) -> PathBuf {
        self.0.join("server-ctl")
    }

    /// A guest's directory.
    #[must_use]
    pub fn guest_dir(&self, guest: &GuestName) -> PathBuf {
        self.0.join(guest.as_str())
    }

    /// Makes the directory itself, searchable by all: what is inside has its own modes.
    ///
    /// # Errors
    ///
    /// [`SetupError::Io`] with the path.
    pub fn create(&self) -> Result<(), SetupError> {
        let missing: Vec<_> = self.0.ancestors().take_while(|path| !path.exists()).collect();
        for path in missing.into_iter().rev().filter(|path| !path.as_os_str().is_empty()) {
            match fs::create_dir(path) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(SetupError::io("creating", path, e)),
            }
            // Whatever the umask took: QEMU runs as another user.
            fs::set_permissions(path, Permissions::from_mode(0o755))
                .map_err(|e| SetupError::io("changing the mode of", path, e))?;
        }
        match self.0.is_dir() {
            true => Ok(()),
            false => Err(SetupError::Kind { path: self.0.clone(), expected: "directory" }),
        }
    }

    /// Makes a guest's directory and FIFOs. What is already there stays, so that running it twice changes nothing; modes
    /// and groups are set on what exists only where they were given.
    ///
    /// # Errors
    ///
    /// Wrong options, something else in the way, or the system refuses.
    pub fn setup(
        &self,
        guest: &GuestName,
        options: &SetupOptions,
    ) -> Result<SetupReport, SetupError> {
        if options.cpus == 0 || options.cpus > MAX_CPUS {
            return Err(SetupError::Cpus { cpus: options.cpus });
        }
        if let Some(mode) = options.mode
            && mode & !0o777 != 0
        {
            return Err(SetupError::Mode { mode });
        }
        let group = options.group.as_deref().map(find_group).transpose()?;
        self.create()?;

        let mut report = SetupReport::default();
        let dir = self.guest_dir(guest);
        let mode = options.mode.unwrap_or(FIFO_MODE);
        fifos::make_dir(&dir, directory_mode(mode), options.mode.is_some(), group, &mut report)?;
        for cpu in 0..options.cpus {
            let name =
                fifos::data_name(&dir, cpu).unwrap_or_else(|| format!("{}{cpu}", DATA_PORTS[0]));
            for direction in ["in", "out"] {
                let path = dir.join(format!("{name}.{direction}"));
                fifos::make_fifo(
                    &path,
                    Mode::from_bits_truncate(mode),
                    options.mode.is_some(),
                    group,
                    &mut report,
                )?;
            }
        }
        Ok(report)
    }

    /// Removes a guest's FIFOs and then its directory. Files that are not ours keep the directory.
    ///
    /// # Errors
    ///
    /// [`SetupError::NotSetUp`], [`SetupError::InUse`] with everything still there, or the system refuses.
    pub fn remove(&self, guest: &GuestName) -> Result<(), SetupError> {
        let dir = self.existing_dir(guest)?;
        let entries = fs::read_dir(&dir).map_err(|e| SetupError::io("reading", &dir, e))?;
        let fifos: Vec<_> =
            entries.flatten().filter(fifos::is_data_fifo).map(|entry| entry.path()).collect();
        if let Some(path) = fifos.iter().find(|path| fifos::is_open(path)) {
            return Err(SetupError::InUse { path: path.clone() });
        }
        for path in fifos {
            fs::remove_file(&path).map_err(|e| SetupError::io("removing", &path, e))?;
        }
        fs::remove_dir(&dir).map_err(|e| SetupError::io("removing", &dir, e))
    }

    /// Guests that are set up, sorted by name.
    ///
    /// # Errors
    ///
    /// The directory cannot be read; one that is not there has no guests.
    pub fn guests(&self) -> Result<Vec<GuestName>, SetupError> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(SetupError::io("reading", &self.0, e)),
        };
        let mut names: Vec<_> = entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| GuestName::new(entry.file_name().to_str()?).ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// How many CPUs have FIFOs: 0, 1, 2 … up to the first that has none.
    ///
    /// # Errors
    ///
    /// [`SetupError::NotSetUp`].
    pub fn cpus(&self, guest: &GuestName) -> Result<u32, SetupError> {
        let dir = self.existing_dir(guest)?;
        Ok((0..MAX_CPUS).find(|&cpu| fifos::data_name(&dir, cpu).is_none()).unwrap_or(MAX_CPUS))
    }

    /// The FIFO on which a CPU's data arrives.
    #[must_use]
    pub fn data_fifo(&self, guest: &GuestName, cpu: u32) -> Option<PathBuf> {
        let dir = self.guest_dir(guest);
        fifos::data_name(&dir, cpu).map(|name| dir.join(format!("{name}.out")))
    }

    /// The arguments QEMU needs, each option followed by its value.
    ///
    /// # Errors
    ///
    /// The number of CPUs or the directory's path cannot be written as an option.
    pub fn qemu_args(&self, guest: &GuestName, cpus: u32) -> Result<Vec<String>, SetupError> {
        vm::qemu_args(self, guest, cpus)
    }

    /// The elements libvirt needs inside `<devices>`.
    ///
    /// # Errors
    ///
    /// As [`qemu_args`](Self::qemu_args).
    pub fn libvirt_xml(&self, guest: &GuestName, cpus: u32) -> Result<String, SetupError> {
        let channels = self.libvirt_channels(guest, cpus)?;
        Ok(channels.into_iter().map(|channel| channel.xml).collect())
    }

    /// The same, channel by channel.
    ///
    /// # Errors
    ///
    /// As [`qemu_args`](Self::qemu_args).
    pub fn libvirt_channels(
        &self,
        guest: &GuestName,
        cpus: u32,
    ) -> Result<Vec<Channel>, SetupError> {
        vm::libvirt_channels(self, guest, cpus)
    }

    fn existing_dir(&self, guest: &GuestName) -> Result<PathBuf, SetupError> {
        let dir = self.guest_dir(guest);
        // A link could lead anywhere; a guest's directory is a real one.
        match fs::symlink_metadata(&dir) {
            Ok(meta) if meta.is_dir() => Ok(dir),
            Ok(_) => Err(SetupError::Kind { path: dir, expected: "directory" }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Err(SetupError::NotSetUp { guest: guest.to_string(), path: dir })
            }
            Err(e) => Err(SetupError::io("looking at", &dir, e)),
        }
    }
}

/// Search where there is reading; the owner always.
fn directory_mode(fifo_mode: u32) -> u32 {
    0o700 | (fifo_mode & 0o055) | ((fifo_mode & 0o044) >> 2)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileTypeExt;

    use super::*;

    fn guest() -> GuestName {
        GuestName::new("guest1").unwrap()
    }

    #[test]
    fn setting_up_twice_changes_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let dir = VirtDir::new(temp.path().join("virt"));
        let options = SetupOptions { cpus: 2, mode: Some(0o622), group: None };
        let first = dir.setup(&guest(), &options).unwrap();
        assert_eq!(first.created.len(), 5);
        let fifo = dir.data_fifo(&guest(), 1).unwrap();
        let meta = fs::metadata(&fifo).unwrap();
        assert!(meta.file_type().is_fifo());
        assert_eq!(meta.permissions().mode() & 0o777, 0o622);
        let second = dir.setup(&guest(), &options).unwrap();
        assert_eq!((second.created.len(), second.existing.len()), (0, 5));
        assert_eq!(dir.cpus(&guest()).unwrap(), 2);
        assert_eq!(dir.guests().unwrap(), [guest()]);
    }

    #[test]
    fn fifos_named_by_setup_guest_are_taken() {
        let temp = tempfile::tempdir().unwrap();
        let dir = VirtDir::new(temp.path());
        fs::create_dir(temp.path().join("guest1")).unwrap();
        let theirs = temp.path().join("guest1/trace-pipe-cpu0.out");
        nix::unistd::mkfifo(&theirs, Mode::S_IRWXU).unwrap();
        let report = dir.setup(&guest(), &SetupOptions { cpus: 2, ..Default::default() }).unwrap();
        assert_eq!(dir.data_fifo(&guest(), 0), Some(theirs));
        assert!(report.created.contains(&temp.path().join("guest1/trace-pipe-cpu0.in")));
        assert!(report.created.contains(&temp.path().join("guest1/trace-path-cpu1.out")));
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let dir = VirtDir::new(temp.path());
        fs::create_dir(temp.path().join("guest1")).unwrap();
        fs::write(temp.path().join("guest1/trace-path-cpu0.in"), "").unwrap();
        let error =
            dir.setup(&guest(), &SetupOptions { cpus: 1, ..Default::default() }).unwrap_err();
        assert!(
            error.to_string().ends_with("trace-path-cpu0.in exists and is not a FIFO"),
            "{error}"
        );
    }

    #[test]
    fn removing_leaves_what_is_not_ours() {
        let temp = tempfile::tempdir().unwrap();
        let dir = VirtDir::new(temp.path());
        dir.setup(&guest(), &SetupOptions { cpus: 1, ..Default::default() }).unwrap();
        let other = temp.path().join("guest1/notes");
        fs::write(&other, "").unwrap();
        assert!(dir.remove(&guest()).is_err());
        assert!(other.exists() && dir.data_fifo(&guest(), 0).is_none());
        fs::remove_file(other).unwrap();
        dir.remove(&guest()).unwrap();
        assert!(matches!(dir.remove(&guest()), Err(SetupError::NotSetUp { .. })));
    }

    #[test]
    fn what_a_vm_has_open_is_not_removed() {
        let temp = tempfile::tempdir().unwrap();
        let dir = VirtDir::new(temp.path());
        dir.setup(&guest(), &SetupOptions { cpus: 2, ..Default::default() }).unwrap();
        let fifo = dir.data_fifo(&guest(), 1).unwrap();
        let vm = fs::File::options().read(true).write(true).open(&fifo).unwrap();
        let error = dir.remove(&guest()).unwrap_err();
        assert!(matches!(error, SetupError::InUse { ref path } if *path == fifo), "{error}");
        assert_eq!(dir.cpus(&guest()).unwrap(), 2);
        drop(vm);
        dir.remove(&guest()).unwrap();
    }

    #[test]
    fn wrong_numbers_are_refused_before_anything_is_made() {
        let temp = tempfile::tempdir().unwrap();
        let dir = VirtDir::new(temp.path().join("virt"));
        for options in [
            SetupOptions { cpus: 0, ..Default::default() },
            SetupOptions { cpus: 5000, ..Default::default() },
            SetupOptions { cpus: 1, mode: Some(0o1777), group: None },
            SetupOptions { cpus: 1, mode: None, group: Some("no such group".into()) },
        ] {
            dir.setup(&guest(), &options).unwrap_err();
        }
        assert!(!dir.path().exists());
    }
}
