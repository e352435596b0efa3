//! The VM's ports: there, and leading to the guest's socket and FIFOs.

use std::fs;
use std::path::{Path, PathBuf};

use super::Fault;
use super::vm::Vm;
use crate::setup::machine::Machine;
use crate::setup::{CONTROL_PORT, DATA_PORTS, GuestName, VirtDir};

/// Missing ports that are named; the others are counted.
const MAX_NAMED: usize = 4;

/// Whether a VM has something of this guest: its port leads to the directory's socket, or a FIFO is open.
pub(super) fn belongs(dir: &VirtDir, guest: &GuestName, vm: &Vm) -> bool {
    let chardev = vm.ports.get(CONTROL_PORT).and_then(|id| vm.chardevs.get(id));
    let path = chardev.and_then(|chardev| chardev.path.as_deref()).map(Path::new);
    let fifos = (0..dir.cpus(guest).unwrap_or(0)).filter_map(|cpu| dir.data_fifo(guest, cpu));
    let mut metas = fifos.filter_map(|fifo| fs::metadata(fifo).ok());
    path.is_some_and(|path| is_same(path, &dir.agent_socket()))
        || metas.any(|meta| vm.has_open(&meta) == Some(true))
}

/// `machine` is what QEMU itself said, where it was asked: it knows ports that were added later.
pub(super) fn examine(
    dir: &VirtDir,
    guest: &GuestName,
    vm: &Vm,
    machine: Option<&Machine>,
    connected: bool,
    faults: &mut Vec<Fault>,
) {
    let cpus = dir.cpus(guest).unwrap_or(0);
    let mut missing = Vec::new();
    if !examine_control(dir, vm, machine, faults) && (machine.is_some() || !connected) {
        missing.push(CONTROL_PORT.to_owned());
    }
    for cpu in 0..cpus {
        if let Some(name) = examine_data(dir, guest, cpu, vm, machine, faults) {
            missing.push(name);
        }
    }
    if !missing.is_empty() {
        let more = missing.len().saturating_sub(MAX_NAMED);
        missing.truncate(MAX_NAMED);
        let mut port = missing.join(", ");
        if more > 0 {
            port.push_str(&format!(" and {more} more"));
        }
        let guest = guest.to_string();
        faults.push(Fault::PortMissing { guest, port, cpus: cpus.max(1) });
    }
}

/// Whether the control port was found.
fn examine_control(
    dir: &VirtDir,
    vm: &Vm,
    machine: Option<&Machine>,
    faults: &mut Vec<Fault>,
) -> bool {
    let chardev = vm.ports.get(CONTROL_PORT).and_then(|id| Some((id, vm.chardevs.get(id)?)));
    let plugged = machine.and_then(|machine| Some((machine, machine.port(None)?)));
    let found = match (&chardev, plugged) {
        (Some((_, chardev)), _) => chardev.path.as_deref(),
        (None, Some((machine, port))) => machine.socket_of(port),
        (None, None) => return vm.ports.contains_key(CONTROL_PORT),
    };
    let wanted = dir.agent_socket();
    if let Some(found) = found.map(PathBuf::from)
        && !is_same(&found, &wanted)
    {
        faults.push(Fault::PortElsewhere { port: CONTROL_PORT.to_owned(), found, wanted });
    }
    if let Some((id, chardev)) = chardev
        && chardev.kind == "socket"
        && !chardev.reconnects
    {
        faults.push(Fault::NoReconnect { chardev: id.clone() });
    }
    true
}

/// Returns the name of a CPU's port, if it is missing.
fn examine_data(
    dir: &VirtDir,
    guest: &GuestName,
    cpu: u32,
    vm: &Vm,
    machine: Option<&Machine>,
    faults: &mut Vec<Fault>,
) -> Option<String> {
    let fifo = dir.data_fifo(guest, cpu)?;
    let wanted = fifo.with_extension("");
    let name = wanted.file_name()?.to_str()?.to_owned();
    let open = fs::metadata(&fifo).ok().and_then(|meta| vm.has_open(&meta));
    let names = DATA_PORTS.map(|prefix| format!("{prefix}{cpu}"));
    let chardev = names.iter().find_map(|name| vm.chardevs.get(vm.ports.get(name)?));
    if let Some(found) = chardev.and_then(|chardev| chardev.path.as_deref()).map(PathBuf::from) {
        if !is_same(&found, &wanted) {
            faults.push(Fault::PortElsewhere { port: name, found, wanted });
        } else if open == Some(false) {
            faults.push(Fault::FifoReplaced { path: fifo });
        }
        return None;
    }
    let plugged = machine.map(|machine| machine.port(Some(cpu)).is_some());
    // Without QEMU's word, a FIFO that it has open belongs to a port that was added later.
    match plugged.or(open) {
        Some(false) => Some(name),
        Some(true) if open == Some(false) => {
            faults.push(Fault::FifoReplaced { path: fifo });
            None
        }
        _ => None,
    }
}

/// Whether both lead to the same place: the last part may not exist.
fn is_same(a: &Path, b: &Path) -> bool {
    let real =
        |path: &Path| Some((path.parent()?.canonicalize().ok()?, path.file_name()?.to_owned()));
    a == b || (real(a).is_some() && real(a) == real(b))
}
