//! A real guest on this machine, for tests, the demo and benches.
//!
//! The guest is QEMU under TCG (no KVM, no root), the distribution's own kernel unpacked from its
//! package, and a first file system made here: busybox, the kernel modules virtio-serial needs,
//! a static `trace-cmd` and an init script. It boots in a few seconds.
//!
//! ```no_run
//! use std::time::Duration;
//! use trace_virt::lab::{Guest, GuestOptions, static_binary};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut options = GuestOptions::new("guest1");
//! options.cpus = 2;
//! options.virt_dir = Some("/tmp/virt".into());
//! options.trace_cmd = Some(static_binary()?);
//! options.client_args = Some(vec!["--allow-exec".into()]);
//! let guest = Guest::boot(options)?;
//! guest.wait_ready(Duration::from_secs(30))?;
//! assert_eq!(guest.run("uname -s")?, "Linux\n");
//! guest.power_off(Duration::from_secs(10))?;
//! # Ok(())
//! # }
//! ```
//!
//! What a machine lacks for this is a value of [`Missing`], so that a test can be counted as
//! skipped with the reason: [`requirements`] asks for it beforehand.
//!
//! This module is no part of what the crate promises; it is hidden behind the feature `lab`.

mod command;
mod cpio;
mod error;
mod guest;
mod initramfs;
mod inner;
mod kernel;
mod libvirtd;
mod modules;
mod options;
mod qemu;
mod reference;
pub mod requirements;
mod shell;
mod stale_code;
mod static_binary;
mod vsock_device;

use std::path::{Path, PathBuf};

pub use cpio::CpioWriter;
pub use error::{LabError, Missing};
pub use guest::Guest;
pub use initramfs::Initramfs;
pub use inner::add_inner;
pub use kernel::{Flavor, Kernel};
pub use libvirtd::{Libvirtd, domain_xml};
pub use options::{Accel, GuestFile, GuestOptions};
pub use reference::Reference;
pub use requirements::TracefsLock;
pub use shell::Output;
pub use static_binary::static_binary;
pub use vsock_device::VsockDevice;

/// Returns the directory that keeps what is expensive to make: the guest's kernel, the static
/// binary, the shim for the reference.
///
/// It is `$TRACE_LAB_DIR`, or `target/lab` in the workspace.
pub fn cache_dir() -> PathBuf {
    std::env::var_os("TRACE_LAB_DIR")
        .map_or_else(|| workspace_dir().join("target/lab"), PathBuf::from)
}

fn workspace_dir() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}
