//! The guest's kernel: the distribution's own, unpacked from its package and not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};

use super::command;
use super::error::{LabError, Missing, file};
use super::modules::Modules;

/// Which of the distribution's kernels a guest has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Flavor {
    /// The smallest there is.
    #[default]
    Virtual,
    /// The one that real machines have, with drivers for all of them.
    Full,
    /// The real-time one, which has latency tracers.
    RealTime,
}

impl Flavor {
    /// Packages that depend on the newest kernel, those made for virtual machines first.
    fn meta_packages(self) -> &'static [&'static str] {
        match self {
            Self::Virtual => &[
                "linux-image-cloud-amd64", // Debian
                "linux-image-virtual",     // Ubuntu
                "linux-image-amd64",
                "linux-image-generic",
            ],
            Self::Full => &["linux-image-amd64", "linux-image-generic"],
            Self::RealTime => &["linux-image-rt-amd64"],
        }
    }

    /// Where it is kept in the cache directory.
    fn directory(self) -> &'static str {
        match self {
            Self::Virtual => "kernel",
            Self::Full => "kernel-full",
            Self::RealTime => "kernel-rt",
        }
    }
}

/// A kernel that a guest can boot, with its modules.
#[derive(Debug, Clone)]
pub struct Kernel {
    version: String,
    image: PathBuf,
    modules: Modules,
}

impl Kernel {
    /// Returns the kernel of this flavor kept in the cache directory; downloads and unpacks it there first when
    /// there is none.
    ///
    /// Downloading takes `apt-get download`, which needs no root, and the lists `apt-get update`
    /// makes. Several processes may call this at once: one downloads, the others wait.
    ///
    /// # Errors
    ///
    /// [`Missing::Kernel`] with the reason when none can be had on this machine.
    pub fn fetch(cache_dir: &Path, flavor: Flavor) -> Result<Self, LabError> {
        let directory = cache_dir.join(flavor.directory());
        if !directory.exists() {
            let _lock = lock(cache_dir, "kernel.lock")?;
            if !directory.exists() {
                download(&directory, flavor).map_err(|error| Missing::Kernel(error.to_string()))?;
            }
        }
        Self::open(&directory)
    }

    /// Opens a directory in which a kernel package and that of its modules were unpacked.
    ///
    /// # Errors
    ///
    /// [`Missing::Kernel`] when it has no kernel image or no modules.
    pub fn open(directory: &Path) -> Result<Self, LabError> {
        let missing = |what| Missing::Kernel(format!("no {what} below {}", directory.display()));
        let module_dir = ["usr/lib/modules", "lib/modules"]
            .iter()
            .find_map(|path| first_in(&directory.join(path), "").ok().flatten())
            .ok_or_else(|| missing("modules"))?;
        let version = module_dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let image = first_in(&directory.join("boot"), "vmlinuz")
            .ok()
            .flatten()
            .or_else(|| Some(module_dir.join("vmlinuz")).filter(|path| path.is_file()))
            .ok_or_else(|| missing("kernel image"))?;
        let modules = Modules::open(&module_dir, &version)?;
        Ok(Self { version, image, modules })
    }

    /// Returns the kernel's version, as in `uname -r`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns the path of the image that QEMU boots.
    pub fn image(&self) -> &Path {
        &self.image
    }

    pub(super) fn modules(&self) -> &Modules {
        &self.modules
    }
}

/// Takes an exclusive lock that ends with the returned value, or with the process.
pub(super) fn lock(directory: &Path, name: &str) -> Result<Flock<fs::File>, LabError> {
    fs::create_dir_all(directory).map_err(file("creating", directory))?;
    let path = directory.join(name);
    let lock_file = fs::File::create(&path).map_err(file("creating", &path))?;
    Flock::lock(lock_file, FlockArg::LockExclusive)
        .map_err(|(_, errno)| file("locking", path)(errno.into()))
}

/// Unpacks into a directory beside the final one, so that the final one is always complete.
fn download(directory: &Path, flavor: Flavor) -> Result<(), LabError> {
    let unfinished = directory.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(file("removing", &unfinished))?;
    }
    fs::create_dir_all(&unfinished).map_err(file("creating", &unfinished))?;

    let image = image_package(flavor)?;
    // Where modules or the bare image are packages of their own, the image package needs them.
    let mut packages = dependencies(&image)?;
    packages.retain(|name| name.starts_with("linux-modules-") || name.starts_with("linux-binary-"));
    packages.push(image);
    for package in &packages {
        let mut apt = Command::new(command::find("apt-get", "apt")?);
        // As root, apt would give the download to a user who cannot write here.
        apt.args(["-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=5", "-q", "download"]);
        command::output(apt.arg(package).current_dir(&unfinished))?;
    }
    let reading = || file("reading", &unfinished);
    for entry in fs::read_dir(&unfinished).map_err(reading())? {
        let archive = entry.map_err(reading())?.path();
        if archive.extension().is_some_and(|extension| extension == "deb") {
            let mut dpkg = Command::new(command::find("dpkg", "dpkg")?);
            command::output(dpkg.arg("-x").arg(&archive).arg(&unfinished))?;
            fs::remove_file(&archive).map_err(file("removing", &archive))?;
        }
    }
    Kernel::open(&unfinished)?;
    fs::rename(&unfinished, directory).map_err(file("renaming", &unfinished))
}

fn image_package(flavor: Flavor) -> Result<String, LabError> {
    for package in flavor.meta_packages() {
        let images = dependencies(package).unwrap_or_default();
        let is_image = |name: &String| {
            name.strip_prefix("linux-image-")
                .is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()))
        };
        if let Some(image) = images.into_iter().find(is_image) {
            return Ok(image);
        }
    }
    Err(Missing::Kernel("apt knows none (is `apt-get update` needed?)".into()).into())
}

fn dependencies(package: &str) -> Result<Vec<String>, LabError> {
    let mut apt = Command::new(command::find("apt-cache", "apt")?);
    let text = command::output(apt.args(["depends", "--important", package]))?;
    Ok(parse_dependencies(&String::from_utf8_lossy(&text)))
}

fn parse_dependencies(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.trim_start_matches([' ', '|']).strip_prefix("Depends: "))
        .map(|name| name.trim().to_owned())
        .collect()
}

/// The first entry, by name, that starts so.
fn first_in(directory: &Path, prefix: &str) -> std::io::Result<Option<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            paths.push(entry.path());
        }
    }
    Ok(paths.into_iter().min())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_what_apt_prints() {
        let text = "linux-image-6.8.0-31-generic\n  Depends: kmod\n |Depends: linux-base\n  \
                    Depends: linux-modules-6.8.0-31-generic\n  Conflicts: x\n";
        assert_eq!(
            parse_dependencies(text),
            ["kmod", "linux-base", "linux-modules-6.8.0-31-generic"]
        );
    }

    #[test]
    fn directory_without_a_kernel_is_a_reason_to_skip() {
        let directory = tempfile::tempdir().unwrap();
        let error = Kernel::open(directory.path()).unwrap_err();
        assert!(matches!(error.missing(), Some(Missing::Kernel(_))), "{error}");
    }

    #[test]
    fn image_is_found_in_either_place() {
        let directory = tempfile::tempdir().unwrap();
        let modules = directory.path().join("usr/lib/modules/6.12.1-cloud");
        fs::create_dir_all(&modules).unwrap();
        fs::write(modules.join("vmlinuz"), "").unwrap();
        let kernel = Kernel::open(directory.path()).unwrap();
        assert_eq!(kernel.version(), "6.12.1-cloud");
        assert_eq!(kernel.image(), modules.join("vmlinuz"));

        let boot = directory.path().join("boot");
        fs::create_dir_all(&boot).unwrap();
        fs::write(boot.join("vmlinuz-6.12.1-cloud"), "").unwrap();
        let kernel = Kernel::open(directory.path()).unwrap();
        assert_eq!(kernel.image(), boot.join("vmlinuz-6.12.1-cloud"));
    }
}
