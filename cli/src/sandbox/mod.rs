//! What a process that strangers speak to gives up once it has what it needs: its user, capabilities,
//! most of the file system, and new privileges for good.

mod capabilities;
mod confinement;
mod user;

use std::path::{Path, PathBuf};

use caps::Capability;
use clap::{Arg, ArgAction, ArgMatches};

pub(crate) use self::user::NewUser;

const OPTION: &str = "no-sandbox";

/// Keeps all rights.
pub(crate) fn arg() -> Arg {
    Arg::new(OPTION)
        .long(OPTION)
        .action(ArgAction::SetTrue)
        .help("Keep rights that are not needed: capabilities, and files elsewhere")
}

/// What a process is left with.
#[derive(Debug, Default)]
pub(crate) struct Sandbox {
    capabilities: Vec<Capability>,
    /// Files, and directories with all that is beneath.
    readable: Vec<PathBuf>,
    /// The same, to be written, too.
    writable: Vec<PathBuf>,
    /// Directories in which files and sockets are made, replaced and removed.
    directories: Vec<PathBuf>,
    /// Directories in which files are only removed.
    removals: Vec<PathBuf>,
    /// TCP ports that may be listened on; 0 stands for those that the system chooses.
    listening: Vec<u16>,
    /// TCP ports of others that may be connected to.
    connecting: Vec<u16>,
    /// The files of all processes are looked at.
    looks_at_processes: bool,
}

impl Sandbox {
    /// Nothing is left.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Leaves a capability to root.
    pub(crate) fn capability(mut self, capability: Capability) -> Self {
        self.capabilities.push(capability);
        self
    }

    /// Leaves what can be read in a file or beneath a directory, if there is one.
    pub(crate) fn reading(mut self, paths: &[&str]) -> Self {
        self.readable.extend(paths.iter().map(PathBuf::from));
        self
    }

    /// Leaves a file that is written, if there is one.
    pub(crate) fn writing(mut self, path: &str) -> Self {
        self.writable.push(path.into());
        self
    }

    /// Leaves a directory to make, replace and remove files and sockets in.
    pub(crate) fn directory(mut self, path: &Path) -> Self {
        self.directories.push(path.to_owned());
        self
    }

    /// Leaves a directory to remove files from.
    pub(crate) fn removing(mut self, path: &Path) -> Self {
        self.removals.push(path.to_owned());
        self
    }

    /// Leaves TCP ports to listen on, 0 for those that the system chooses.
    pub(crate) fn listening(mut self, port: u16) -> Self {
        self.listening.push(port);
        self
    }

    /// Leaves a TCP port of others to connect to.
    pub(crate) fn connecting(mut self, port: u16) -> Self {
        self.connecting.push(port);
        self
    }

    /// Leaves what all can read of each process.
    pub(crate) fn looking_at_processes(mut self) -> Self {
        self.looks_at_processes = true;
        self
    }

    /// Gives up all the rest, in this thread and those it starts, unless `matches` say otherwise. Returns
    /// what could not be given up here, in lines.
    pub(crate) fn enter(mut self, matches: &ArgMatches) -> Vec<String> {
        let mut lines = Vec::new();
        if matches.get_flag(OPTION) {
            return lines;
        }
        let mut note = |line: Option<String>| lines.extend(line);
        let is_refused = |error: nix::Error| format!("new privileges are not refused: {error}");
        note(nix::sys::prctl::set_no_new_privs().err().map(is_refused));
        if self.looks_at_processes && confinement::processes_are_hidden() {
            // Whom they are hidden from depends on rights that a confined process has not.
            self.capabilities.push(Capability::CAP_SYS_PTRACE);
            note(Some("/proc hides processes (hidepid): files elsewhere stay in reach".to_owned()));
        } else {
            note(confinement::confine(&self).err());
        }
        note(capabilities::keep(&self.capabilities, &self.directories).err());
        lines
    }
}
