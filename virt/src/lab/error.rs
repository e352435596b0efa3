//! What can go wrong on the way to a running guest, and what a machine may lack for it.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::setup::SetupError;

/// Something this machine lacks. Its text is the reason a test gives for being skipped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// The effective user is not root.
    #[error("needs root")]
    Root,
    /// tracefs is neither mounted nor could be.
    #[error("needs tracefs: {0}")]
    Tracefs(String),
    /// A program that is not in `PATH`.
    #[error("needs {program} (Debian package {package})")]
    Program {
        /// Its name.
        program: &'static str,
        /// The package that has it.
        package: &'static str,
    },
    /// A guest's programs have to be of this architecture.
    #[error("needs an x86-64 machine, this is {0}")]
    Architecture(&'static str),
    /// `/dev/kvm` is not there or may not be used.
    #[error("needs /dev/kvm: {0}")]
    Kvm(String),
    /// debugfs is neither mounted nor could be, or KVM tells nothing there.
    #[error("needs KVM in debugfs: {0}")]
    KvmDebugfs(String),
    /// The program that gives a guest its vsock.
    #[error("needs vhost-device-vsock (cargo install vhost-device-vsock)")]
    VsockDevice,
    /// No two hosts can be made of this machine.
    #[error("needs network namespaces: {0}")]
    Namespaces(String),
    /// No machine with systemd can be made of namespaces.
    #[error("needs systemd in namespaces of its own: {0}")]
    Systemd(String),
    /// No kernel for the guest in the cache and none could be downloaded.
    #[error("needs a guest kernel: {0}")]
    Kernel(String),
    /// The installed `trace-cmd` is not the C one that serves as the reference.
    #[error("needs the reference trace-cmd: {0}")]
    Reference(String),
}

/// A failure in the lab.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// The machine lacks something: a reason to skip, not a fault.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// A file or directory could not be used.
    #[error("{action} {path}: {source}")]
    File {
        /// What was attempted, such as `reading`.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A program could not be run, or said no.
    #[error("{program} failed ({status}): {stderr}")]
    Program {
        /// The program and its arguments.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said.
        stderr: String,
    },
    /// The vsock device does not come up.
    #[error("the vsock device makes no socket: {log}")]
    Device {
        /// What it said.
        log: String,
    },
    /// The guest's directory and FIFOs could not be made.
    #[error("setting up the guest's ports")]
    Setup(#[from] SetupError),
    /// The kernel package has no such module, neither as a file nor built in.
    #[error("kernel {kernel} has no module {module}")]
    NoModule {
        /// The module's name, with underscores.
        module: String,
        /// The kernel's version.
        kernel: String,
    },
    /// QEMU ended when it should not have.
    #[error("guest {guest}: QEMU ended while {step} ({status})\n{console}")]
    Ended {
        /// The guest's name.
        guest: String,
        /// What was being waited for.
        step: &'static str,
        /// QEMU's exit status.
        status: ExitStatus,
        /// The end of the console and of QEMU's own messages.
        console: String,
    },
    /// A guest did not do something in time.
    #[error("guest {guest}: {step} took longer than {deadline:?}\n{console}")]
    Deadline {
        /// The guest's name.
        guest: String,
        /// What was being waited for.
        step: &'static str,
        /// How long it could take.
        deadline: Duration,
        /// The end of the console and of QEMU's own messages.
        console: String,
    },
    /// The command port to the guest broke, or spoke nonsense.
    #[error("guest {guest}: command port: {problem}")]
    Shell {
        /// The guest's name.
        guest: String,
        /// What happened.
        problem: String,
    },
    /// A command in the guest ended with something else than 0.
    #[error("guest {guest}: {command:?} ended with {status}\n{stderr}")]
    Command {
        /// The guest's name.
        guest: String,
        /// The command.
        command: String,
        /// The shell's `$?`.
        status: i32,
        /// What it wrote to its standard error.
        stderr: String,
    },
}

impl LabError {
    /// The reason to skip a test, when that is what this error is.
    pub fn missing(&self) -> Option<&Missing> {
        match self {
            Self::Missing(missing) => Some(missing),
            _ => None,
        }
    }
}

/// Makes a closure that wraps an I/O error with what was done to which file.
pub(super) fn file(
    action: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> LabError {
    let path = path.into();
    move |source| LabError::File { action, path, source }
}
