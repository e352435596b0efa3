//! What a process may do.

use std::fs;

use libtest_mimic::Failed;
use nix::unistd::Pid;

/// A part of its `/proc/PID/status`.
#[derive(Debug)]
pub(crate) struct Rights {
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
    pub(crate) bounding: u64,
    pub(crate) no_new_privileges: bool,
}

impl Rights {
    /// Whether nothing can be had that it has not. Who has become another user cannot change what bounds it, and needs
    /// not.
    pub(crate) fn is_limited(&self) -> bool {
        let is_bounded = self.bounding == 0 || self.permitted == 0;
        self.permitted == self.effective && is_bounded && self.no_new_privileges
    }
}

/// Those of a process.
pub(crate) fn of(pid: Pid) -> Result<Rights, Failed> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let number = |key: &str, radix: u32| -> Result<u64, Failed> {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        Ok(u64::from_str_radix(line.ok_or("no such line")?.trim(), radix)?)
    };
    Ok(Rights {
        effective: number("CapEff", 16)?,
        permitted: number("CapPrm", 16)?,
        bounding: number("CapBnd", 16)?,
        no_new_privileges: number("NoNewPrivs", 10)? == 1,
    })
}
