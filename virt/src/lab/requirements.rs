//! Asks a machine for what a test needs. Every `Err` is a reason to skip, ready to be shown.
//!
//! ```no_run
//! use trace_virt::lab::requirements;
//!
//! match requirements::root().and_then(|()| requirements::guest()) {
//!     Ok(()) => println!("can boot a guest"),
//!     Err(missing) => println!("skipped: {missing}"),
//! }
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};

use super::command;
use super::error::{LabError, Missing, file};
use super::kernel::{Flavor, Kernel};
use super::reference::Reference;

/// Where tracefs belongs, and where older kernels have it.
const TRACING_DIRS: &[&str] = &["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Tests and benches of all crates that use the running kernel's tracing take this lock.
const TRACEFS_LOCK: &str = "/tmp/tracefs.lock";

/// Asks for root.
pub fn root() -> Result<(), Missing> {
    if nix::unistd::geteuid().is_root() { Ok(()) } else { Err(Missing::Root) }
}

/// Asks for tracefs, and mounts it when nobody has; returns the tracing directory.
pub fn tracefs() -> Result<PathBuf, Missing> {
    let mounted =
        || TRACING_DIRS.iter().map(Path::new).find(|path| path.join("current_tracer").exists());
    if let Some(path) = mounted() {
        return Ok(path.to_owned());
    }
    root()?;
    let mut mount = Command::new("mount");
    let result = command::output(mount.args(["-t", "tracefs", "nodev", TRACING_DIRS[0]]));
    match (mounted(), result) {
        (Some(path), _) => Ok(path.to_owned()),
        (None, Err(error)) => Err(Missing::Tracefs(error.to_string())),
        (None, Ok(_)) => Err(Missing::Tracefs(format!("{} stays empty", TRACING_DIRS[0]))),
    }
}

/// Asks for network namespaces, and for virtual links between them.
pub fn network_namespaces() -> Result<(), Missing> {
    root()?;
    let ip = command::find("ip", "iproute2")?;
    let name = format!("tracing-lab-{}", std::process::id());
    let run = |words: &str| command::output(Command::new(&ip).args(words.split(' ')));
    let made = run(&format!("netns add {name}")).and_then(|_| {
        let link = run(&format!("link add tl0 netns {name} type veth peer name tl1 netns {name}"));
        // Its links go with it.
        run(&format!("netns del {name}")).and(link)
    });
    made.map(drop).map_err(|error| Missing::Namespaces(error.to_string()))
}

/// Asks for QEMU; returns the program.
pub fn qemu() -> Result<PathBuf, Missing> {
    if !cfg!(target_arch = "x86_64") {
        return Err(Missing::Architecture(std::env::consts::ARCH));
    }
    command::find("qemu-system-x86_64", "qemu-system-x86")
}

/// Asks for what a guest inside a guest needs, beside what [`guest`] asks for.
pub fn inner_guest() -> Result<(), Missing> {
    guest()?;
    super::inner::firmware().map(drop)
}

/// Asks for a `/dev/kvm` that may be used.
pub fn kvm() -> Result<(), Missing> {
    let device = File::options().read(true).write(true).open("/dev/kvm");
    device.map(drop).map_err(|error| Missing::Kvm(error.to_string()))
}

/// Asks for KVM's directory in debugfs, which lists each VM, and mounts debugfs when nobody has;
/// returns it.
pub fn kvm_debugfs() -> Result<PathBuf, Missing> {
    root()?;
    kvm()?;
    let kvm = Path::new("/sys/kernel/debug/kvm");
    if !kvm.exists() {
        let mut mount = Command::new("mount");
        command::output(mount.args(["-t", "debugfs", "nodev", "/sys/kernel/debug"]))
            .map_err(|error| Missing::KvmDebugfs(error.to_string()))?;
    }
    match kvm.exists() {
        true => Ok(kvm.to_owned()),
        false => Err(Missing::KvmDebugfs(format!("no {}", kvm.display()))),
    }
}

/// Asks for all that [`super::Guest::boot`] needs; downloads a kernel when there is none.
pub fn guest() -> Result<(), Missing> {
    guest_with(Flavor::default())
}

/// The same for a guest with a kernel of this flavor.
pub fn guest_with(kernel: Flavor) -> Result<(), Missing> {
    qemu()?;
    command::find("busybox", "busybox-static")?;
    match Kernel::fetch(&super::cache_dir(), kernel) {
        Ok(_) => Ok(()),
        Err(LabError::Missing(missing)) => Err(missing),
        Err(error) => Err(Missing::Kernel(error.to_string())),
    }
}

/// Asks for all that [`super::Libvirtd::start`] needs.
pub fn libvirt() -> Result<(), Missing> {
    root()?;
    qemu()?;
    command::find("libvirtd", "libvirt-daemon")?;
    command::find("virsh", "libvirt-clients").map(drop)
}

/// Asks for what checks the XML of libvirt; returns the program.
pub fn virt_xml_validate() -> Result<PathBuf, Missing> {
    command::find("xmllint", "libxml2-utils")?;
    command::find("virt-xml-validate", "libvirt-clients")
}

/// Asks for a browser that needs no screen; returns the program.
pub fn chromium() -> Result<PathBuf, Missing> {
    command::find("chromium", "chromium")
}

/// Asks for the C trace-cmd.
pub fn reference() -> Result<Reference, Missing> {
    Reference::find()
}

/// Asks for the C trace-cmd and all that it needs to record on the running kernel.
pub fn recording_reference() -> Result<Reference, Missing> {
    root()?;
    tracefs()?;
    gcc()?;
    reference()
}

/// Returns all that this machine lacks, of what the tests of all crates ask for.
pub fn missing() -> Vec<Missing> {
    let outcomes = [
        root(),
        tracefs().map(drop),
        guest(),
        reference().map(drop),
        gcc(),
        libvirt(),
        virt_xml_validate().map(drop),
    ];
    outcomes.into_iter().filter_map(Result::err).collect()
}

fn gcc() -> Result<(), Missing> {
    command::find("gcc", "gcc").map(drop)
}

/// The sole right to the running kernel's tracing, among tests and benches.
///
/// The lock ends with this value or with the process, and is not inherited by programs it runs.
#[derive(Debug)]
pub struct TracefsLock {
    _lock: Flock<File>,
}

impl TracefsLock {
    /// Waits for the lock.
    ///
    /// # Errors
    ///
    /// When the lock file cannot be made or locked.
    pub fn take() -> Result<Self, LabError> {
        // Others may own it: opened for reading it can be locked all the same.
        let open = || match File::open(TRACEFS_LOCK) {
            Err(_) => fs::OpenOptions::new().append(true).create(true).open(TRACEFS_LOCK),
            opened => opened,
        };
        let lock_file = open().map_err(file("opening", TRACEFS_LOCK))?;
        let lock = Flock::lock(lock_file, FlockArg::LockExclusive)
            .map_err(|(_, errno)| file("locking", TRACEFS_LOCK)(errno.into()))?;
        Ok(Self { _lock: lock })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_that_is_not_there_is_named_with_its_package() {
        let missing = command::find("no-such-program", "some-package").unwrap_err();
        assert_eq!(missing.to_string(), "needs no-such-program (Debian package some-package)");
    }

    #[test]
    fn tracefs_lock_keeps_another_out_until_it_is_dropped() {
        let lock = TracefsLock::take().unwrap();
        let other = File::open(TRACEFS_LOCK).unwrap();
        let (other, errno) = Flock::lock(other, FlockArg::LockExclusiveNonblock).unwrap_err();
        assert_eq!(errno, nix::errno::Errno::EWOULDBLOCK);
        drop((lock, other));
    }
}
