//! A guest inside a guest: processors that QEMU emulates can virtualize (AMD's way), so KVM runs a real
//! guest there, also where this machine's own KVM cannot.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::{LabError, Missing, file};
use super::kernel::Kernel;
use super::options::{Accel, GuestFile, GuestOptions};
use super::qemu::{self, GuestDir};
use super::{guest, requirements};
use crate::setup::{GuestName, VirtDir};

/// What the outer guest has of the inner one.
const DIRECTORY: &str = "/lab/inner";
/// What QEMU reads before the kernel, and where distributions have it.
const FIRMWARE: [&str; 3] = ["bios-256k.bin", "kvmvapic.bin", "linuxboot_dma.bin"];
const FIRMWARE_DIRS: [&str; 2] = ["/usr/share/seabios", "/usr/share/qemu"];

/// Gives an emulated guest all that it needs to run another one: there `boot-inner` starts it and ends with it.
/// `inner.virt_dir` is a directory of the outer guest, where `virt-server --dom` has to make the FIFOs first.
///
/// # Errors
///
/// [`LabError::Missing`] when the machine lacks QEMU, its firmware, or a kernel.
pub fn add_inner(outer: &mut GuestOptions, inner: &GuestOptions) -> Result<(), LabError> {
    let kernel = Kernel::fetch(&super::cache_dir(), inner.kernel)?;
    let trace_ports = match &inner.virt_dir {
        Some(dir) => VirtDir::new(dir).qemu_args(&GuestName::new(&inner.name)?, inner.cpus)?,
        None => Vec::new(),
    };
    let directory = GuestDir::new(DIRECTORY);
    let image = Path::new(DIRECTORY).join("kernel");
    let options = GuestOptions { accel: Accel::Kvm, ..inner.clone() };
    let qemu = requirements::qemu()?;
    let arguments = qemu::arguments(&options, trace_ports, Some(&image), &directory);
    let mut initramfs = Vec::new();
    guest::initramfs(inner, &kernel, qemu::port_names(&arguments))?
        .write_to(&mut initramfs)
        .map_err(file("writing", "the inner guest's first file system"))?;
    let mut script = format!("#!/bin/sh\nexec {}", quoted(&qemu.to_string_lossy()));
    for argument in arguments {
        script.push(' ');
        script.push_str(&quoted(&argument.to_string_lossy()));
    }
    script.push_str(&format!(" >{} 2>&1\n", directory.messages().display()));

    let mut add = |path: &Path, mode, data| {
        outer.files.push(GuestFile { path: path.to_string_lossy().into_owned(), mode, data });
    };
    add(&image, 0o644, fs::read(kernel.image()).map_err(file("reading", kernel.image()))?);
    add(&directory.initramfs(), 0o644, initramfs);
    add(Path::new("/usr/bin/boot-inner"), 0o755, script.into_bytes());
    for path in firmware()? {
        add(&path, 0o644, fs::read(&path).map_err(file("reading", &path))?);
    }
    outer.programs.push(qemu);
    outer.modules.push("kvm_amd".into());
    Ok(())
}

/// Asks for QEMU's firmware.
pub(super) fn firmware() -> Result<Vec<PathBuf>, Missing> {
    let find = |name| {
        let mut paths = FIRMWARE_DIRS.iter().map(|dir| Path::new(dir).join(name));
        paths
            .find(|path| path.is_file())
            .ok_or(Missing::Program { program: name, package: "seabios" })
    };
    FIRMWARE.into_iter().map(find).collect()
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
