//! The process that runs a guest.

use std::fs;

use trace_transport::unix::PeerProcess;

use crate::identity;
use crate::setup::GuestName;

/// The process whose own `-name`, or whose libvirt pid file, says that it runs this guest; `None` when there is none, or more
/// than one says so.
#[must_use]
pub fn of_guest(name: &GuestName) -> Option<i32> {
    let pids = fs::read_dir("/proc").ok()?.flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut running = pids.filter(|&pid| {
        is_qemu(pid)
            && identity::guest_of(&PeerProcess { pid, uid: 0, gid: 0 }).as_ref() == Some(name)
    });
    let first = running.next();
    first.filter(|_| running.next().is_none())
}

/// Whether the program's name says so; that of the process may be any (`-name process=…`).
fn is_qemu(pid: i32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let program = line.split(|&byte| byte == 0).next().unwrap_or_default();
    let program = String::from_utf8_lossy(program);
    let name = program.rsplit('/').next().unwrap_or_default();
    name.contains("qemu") || name.contains("kvm")
}
