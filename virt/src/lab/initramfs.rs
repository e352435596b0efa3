//! Builds the file system a guest starts with.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::command;
use super::cpio::CpioWriter;
use super::error::{LabError, file};
use super::kernel::Kernel;
use super::modules::Module;
use super::options::GuestFile;

/// What virtio-serial needs; the rest follows from their dependencies.
const BASE_MODULES: &[&str] = &["virtio_pci", "virtio_console"];

/// A first file system: busybox, modules, the init script and whatever else was added.
#[derive(Debug)]
pub struct Initramfs {
    busybox: Vec<u8>,
    modules: Vec<Module>,
    lifetime: Duration,
    ports: Vec<String>,
    files: Vec<GuestFile>,
}

impl Initramfs {
    /// Starts a file system with the modules for virtio-serial and these.
    ///
    /// # Errors
    ///
    /// When busybox is not installed, or the kernel has no such module.
    pub fn new(kernel: &Kernel, modules: &[String]) -> Result<Self, LabError> {
        let busybox = command::find("busybox", "busybox-static")?;
        let mut wanted: Vec<_> = BASE_MODULES.iter().map(|&name| name.to_owned()).collect();
        wanted.extend_from_slice(modules);
        let mut initramfs = Self {
            busybox: fs::read(&busybox).map_err(file("reading", &busybox))?,
            modules: kernel.modules().in_order(&wanted)?,
            lifetime: Duration::from_secs(1800),
            ports: Vec::new(),
            files: Vec::new(),
        };
        // The static one has none, but the other package gives its program the same name.
        initramfs.add_libraries(&busybox)?;
        Ok(initramfs)
    }

    /// Sets after how long the guest powers itself off.
    pub fn lifetime(&mut self, lifetime: Duration) {
        self.lifetime = lifetime;
    }

    /// Sets the virtio-serial ports that the guest waits for before anything in it uses one.
    pub fn ports(&mut self, names: Vec<String>) {
        self.ports = names;
    }

    /// Adds a file.
    pub fn add(&mut self, added: GuestFile) {
        self.files.push(added);
    }

    /// Adds a program of the host under the same path, with the libraries it is linked to.
    ///
    /// # Errors
    ///
    /// When one of the files cannot be read.
    pub fn add_program(&mut self, path: &Path) -> Result<(), LabError> {
        self.add_host_file(path)?;
        self.add_libraries(path)
    }

    fn add_libraries(&mut self, program: &Path) -> Result<(), LabError> {
        // `ldd` fails for a static program.
        let ldd = command::output(Command::new("ldd").arg(program)).unwrap_or_default();
        for library in library_paths(&String::from_utf8_lossy(&ldd)) {
            self.add_host_file(&library)?;
        }
        Ok(())
    }

    fn add_host_file(&mut self, path: &Path) -> Result<(), LabError> {
        let data = fs::read(path).map_err(file("reading", path))?;
        self.add(GuestFile { path: path.to_string_lossy().into_owned(), mode: 0o755, data });
        Ok(())
    }

    /// Has the guest run `trace-cmd virt-server --client` with these arguments once it is up.
    pub fn start_client(&mut self, arguments: &[String]) {
        let mut script = "#!/bin/busybox sh\nexec trace-cmd virt-server --client".to_owned();
        for argument in arguments {
            script.push_str(&format!(" '{}'", argument.replace('\'', "'\\''")));
        }
        script.push('\n');
        self.add(GuestFile { path: "/lab/client".into(), mode: 0o755, data: script.into() });
    }

    /// Writes the archive, not compressed: the kernel unpacks that fastest under emulation.
    pub fn write_to(&self, out: impl Write) -> io::Result<()> {
        let mut tree = Tree { archive: CpioWriter::new(out), directories: BTreeSet::new() };
        for directory in ["/proc", "/sys", "/dev", "/run", "/tmp", "/root"] {
            tree.directories(directory)?;
        }
        // The kernel opens the console before the init script mounts /dev.
        tree.archive.character_device("/dev/console", 5, 1)?;
        tree.archive.character_device("/dev/null", 1, 3)?;
        tree.file("/bin/busybox", 0o755, &self.busybox)?;
        tree.file("/init", 0o755, include_bytes!("init.sh"))?;
        tree.file("/bin/link-ports", 0o755, include_bytes!("link_ports.sh"))?;
        tree.file(
            "/etc/passwd",
            0o644,
            b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:\n",
        )?;
        tree.file("/etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n")?;
        tree.file("/lab/lifetime", 0o644, self.lifetime.as_secs().to_string().as_bytes())?;
        let ports: String = self.ports.iter().map(|name| format!("{name}\n")).collect();
        tree.file("/lab/ports", 0o644, ports.as_bytes())?;

        let mut order = String::new();
        for module in &self.modules {
            tree.file(&format!("/lab/modules/{}.ko", module.name), 0o644, &module.object)?;
            order.push_str(&module.name);
            order.push('\n');
        }
        tree.file("/lab/modules/order", 0o644, order.as_bytes())?;
        for added in &self.files {
            tree.file(&added.path, added.mode, &added.data)?;
        }
        tree.archive.finish().map(drop)
    }
}

/// An archive that gets every directory once, before what is in it.
struct Tree<W: Write> {
    archive: CpioWriter<W>,
    directories: BTreeSet<String>,
}

impl<W: Write> Tree<W> {
    fn directories(&mut self, path: &str) -> io::Result<()> {
        for (end, _) in path.match_indices('/').skip(1).chain([(path.len(), "")]) {
            if self.directories.insert(path[..end].to_owned()) {
                self.archive.directory(&path[..end])?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &str, mode: u32, data: &[u8]) -> io::Result<()> {
        match path.rsplit_once('/') {
            Some((parent, _)) if !parent.is_empty() => self.directories(parent)?,
            _ => {}
        }
        self.archive.file(path, mode, data)
    }
}

/// `libc.so.6 => /lib/libc.so.6 (0x…)`, and the loader as `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn library_paths(ldd: &str) -> Vec<PathBuf> {
    ldd.lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names in an archive, read as the format's definition says.
    fn names(initramfs: &Initramfs) -> Vec<String> {
        let mut bytes = Vec::new();
        initramfs.write_to(&mut bytes).unwrap();
        let mut names = Vec::new();
        let mut rest = bytes.as_slice();
        loop {
            assert!(rest.starts_with(b"070701"));
            let number = |start: usize| {
                let digits = std::str::from_utf8(&rest[start..start + 8]).unwrap();
                usize::from_str_radix(digits, 16).unwrap()
            };
            let (size, name_size) = (number(54), number(94));
            let name = std::str::from_utf8(&rest[110..110 + name_size - 1]).unwrap();
            if name == "TRAILER!!!" {
                return names;
            }
            names.push(name.to_owned());
            rest = &rest[(110 + name_size).next_multiple_of(4) + size.next_multiple_of(4)..];
        }
    }

    fn empty() -> Initramfs {
        Initramfs {
            ports: Vec::new(),
            busybox: b"busybox".to_vec(),
            modules: vec![Module { name: "virtio_pci".into(), object: b"module".to_vec() }],
            lifetime: Duration::from_secs(1),
            files: Vec::new(),
        }
    }

    #[test]
    fn directories_come_once_and_before_their_files() {
        let mut initramfs = empty();
        let data = b"x".to_vec();
        initramfs.add(GuestFile { path: "/usr/lib/a/b".into(), mode: 0o600, data });
        let names = names(&initramfs);
        let position = |name: &str| names.iter().position(|other| other == name).unwrap();
        assert!(position("usr") < position("usr/lib"));
        assert!(position("usr/lib/a") < position("usr/lib/a/b"));
        assert!(position("lab/modules") < position("lab/modules/virtio_pci.ko"));
        let unique: BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
    }

    #[test]
    fn client_arguments_reach_the_guest_as_words() {
        let mut initramfs = empty();
        initramfs.start_client(&["--allow-exec=a b".into(), "it's".into()]);
        assert_eq!(
            initramfs.files[0].data,
            b"#!/bin/busybox sh\nexec trace-cmd virt-server --client '--allow-exec=a b' 'it'\\''s'\n"
        );
    }

    #[test]
    fn libraries_are_taken_from_what_ldd_prints() {
        let ldd = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n\
                   \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(
            library_paths(ldd),
            [Path::new("/lib/libc.so.6"), Path::new("/lib64/ld-linux-x86-64.so.2")]
        );
    }
}
