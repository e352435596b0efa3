//! Landlock: the part of the file system, the TCP ports and the processes that are left.

use std::fs;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, NetPort, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::Sandbox;

/// What is asked for; kernels that know less do what they know.
const KNOWN: ABI = ABI::V7;

/// Confines this thread, and those it starts, to what `sandbox` leaves.
pub(super) fn confine(sandbox: &Sandbox) -> Result<(), String> {
    match restrict(sandbox) {
        // All that know landlock confine to files; TCP ports and signals came later.
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => Ok(()),
        Ok(RulesetStatus::NotEnforced) => {
            Err("files elsewhere stay in reach: this kernel has no landlock".to_owned())
        }
        Err(error) => Err(format!("files elsewhere stay in reach: {error}")),
    }
}

fn restrict(sandbox: &Sandbox) -> Result<RulesetStatus, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = read | AccessFs::WriteFile | AccessFs::Truncate;
    let make = write | AccessFs::MakeReg | AccessFs::MakeSock | AccessFs::RemoveFile;
    let ports = |ports: &[u16], access: AccessNet| {
        ports
            .iter()
            .map(move |port| Ok::<_, RulesetError>(NetPort::new(*port, access)))
            .collect::<Vec<_>>()
    };
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?
        .add_rules(beneath(&sandbox.readable, read))?
        .add_rules(beneath(&sandbox.writable, write))?
        .add_rules(beneath(&sandbox.directories, make))?
        .add_rules(beneath(&sandbox.removals, AccessFs::RemoveFile.into()))?
        .add_rules(ports(&sandbox.listening, AccessNet::BindTcp))?
        .add_rules(ports(&sandbox.connecting, AccessNet::ConnectTcp))?;
    Ok(ruleset.restrict_self()?.ruleset)
}

/// Rules for what there is of `paths`.
fn beneath(
    paths: &[PathBuf],
    access: BitFlags<AccessFs>,
) -> impl Iterator<Item = Result<landlock::PathBeneath<landlock::PathFd>, RulesetError>> {
    path_beneath_rules(paths, access)
}

/// Whether who may know of a process depends on rights over it.
pub(super) fn processes_are_hidden() -> bool {
    let mounts = fs::read_to_string(Path::new("/proc/self/mounts")).unwrap_or_default();
    hides_processes(&mounts)
}

fn hides_processes(mounts: &str) -> bool {
    let options = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let is_proc = words.next() == Some("/proc") && words.next() == Some("proc");
        is_proc.then(|| words.next().unwrap_or_default().to_owned())
    };
    let last = mounts.lines().filter_map(options).next_back().unwrap_or_default();
    let hidden = last.split(',').find_map(|option| option.strip_prefix("hidepid="));
    hidden.is_some_and(|how| !matches!(how, "0" | "off"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_processes_are_hidden_is_told_by_the_last_mount() {
        for (mounts, hidden) in [
            ("", false),
            ("proc /proc proc rw,relatime 0 0\n", false),
            ("proc /proc proc rw,hidepid=2 0 0\n", true),
            ("proc /proc proc rw,gid=4,hidepid=invisible 0 0\n", true),
            ("proc /proc proc rw,hidepid=off 0 0\n", false),
            ("proc /proc proc rw,hidepid=2 0 0\nproc /proc proc rw 0 0\n", false),
            ("proc /elsewhere proc rw,hidepid=2 0 0\n", false),
        ] {
            assert_eq!(hides_processes(mounts), hidden, "{mounts:?}");
        }
    }
}
