//! The guest's directory and FIFOs, and who may use them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::Fault;
use super::vm::Vm;
use crate::setup::{DATA_PORTS, GuestName, MAX_CPUS, VirtDir};

const READ_WRITE: u32 = 0o6;
const WRITE: u32 = 0o2;
const SEARCH: u32 = 0o1;

/// What a CPU has, for both names.
#[derive(Default)]
struct Pairs([Pair; 2]);

#[derive(Default)]
struct Pair {
    input: bool,
    output: bool,
}

/// Returns how many CPUs have FIFOs, where the directory can be read.
pub(super) fn examine(dir: &VirtDir, guest: &GuestName, faults: &mut Vec<Fault>) -> Option<u32> {
    let path = dir.guest_dir(guest);
    let unusable = |why: String| Fault::Unusable { path: path.clone(), why };
    match fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => {
            faults.push(unusable("it is no directory".to_owned()));
            return None;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            faults.push(Fault::NoDirectory { guest: guest.to_string(), path });
            return None;
        }
        Err(error) => {
            faults.push(unusable(error.to_string()));
            return None;
        }
    }
    let cpus = match read(&path, faults) {
        Ok(cpus) => cpus,
        Err(error) => {
            faults.push(unusable(error.to_string()));
            return None;
        }
    };
    examine_names(&path, guest, &cpus, faults);
    dir.cpus(guest).ok()
}

fn read(path: &Path, faults: &mut Vec<Fault>) -> io::Result<BTreeMap<u32, Pairs>> {
    let mut cpus: BTreeMap<u32, Pairs> = BTreeMap::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some((kind, cpu, is_output)) = name.to_str().and_then(data_name) else { continue };
        if !entry.file_type()?.is_fifo() {
            faults.push(Fault::NotFifo { path: entry.path() });
        }
        let Some(pair) = cpus.entry(cpu).or_default().0.get_mut(kind) else { continue };
        match is_output {
            true => pair.output = true,
            false => pair.input = true,
        }
    }
    Ok(cpus)
}

/// Which of the two names, the CPU, and whether data comes out of it.
fn data_name(name: &str) -> Option<(usize, u32, bool)> {
    let (kind, rest) = DATA_PORTS
        .iter()
        .enumerate()
        .find_map(|(kind, prefix)| Some((kind, name.strip_prefix(prefix)?)))?;
    let (cpu, direction) = rest.split_once('.')?;
    let cpu = cpu.parse().ok().filter(|&cpu| cpu < MAX_CPUS)?;
    matches!(direction, "in" | "out").then_some((kind, cpu, direction == "out"))
}

fn examine_names(
    path: &Path,
    guest: &GuestName,
    cpus: &BTreeMap<u32, Pairs>,
    faults: &mut Vec<Fault>,
) {
    let Some(&last) = cpus.keys().next_back() else {
        faults.push(Fault::NoFifos { guest: guest.to_string() });
        return;
    };
    let missing = |name: String| {
        let path = path.join(name);
        Fault::FifoMissing { guest: guest.to_string(), path, cpus: last + 1 }
    };
    // One gap says enough: they are all made by the same command.
    if let Some(cpu) = (0..last).find(|cpu| !cpus.contains_key(cpu)) {
        faults.push(missing(format!("{}{cpu}.out", DATA_PORTS[0])));
    }
    let mut used = [false; 2];
    for (&cpu, Pairs(pairs)) in cpus {
        for ((pair, prefix), used) in pairs.iter().zip(DATA_PORTS).zip(&mut used) {
            *used |= pair.input || pair.output;
            if pair.input != pair.output {
                let direction = if pair.input { "out" } else { "in" };
                faults.push(missing(format!("{prefix}{cpu}.{direction}")));
            }
        }
        if pairs.iter().all(|pair| pair.output) {
            faults.push(Fault::BothNames { cpu });
        }
    }
    let both = faults.iter().any(|fault| matches!(fault, Fault::BothNames { .. }));
    if used == [true; 2] && !both {
        faults.push(Fault::MixedNames);
    }
}

/// Whether the VM's user reaches what it has to open.
pub(super) fn examine_access(dir: &VirtDir, guest: &GuestName, vm: &Vm, faults: &mut Vec<Fault>) {
    let Some(user) = &vm.user else { return };
    let guest_dir = dir.guest_dir(guest);
    let ancestors: Vec<_> = guest_dir.ancestors().filter(|path| path.is_dir()).collect();
    let closed = ancestors
        .into_iter()
        .rev()
        .find(|path| fs::metadata(path).is_ok_and(|meta| !user.may(&meta, SEARCH)));
    if let Some(path) = closed {
        faults.push(Fault::NotSearchable { path: path.to_owned(), uid: user.uid });
        return;
    }
    // What it has open it may use, whatever the mode says now.
    let refused = (0..dir.cpus(guest).unwrap_or(0))
        .filter_map(|cpu| dir.data_fifo(guest, cpu))
        .find(|path| {
            fs::metadata(path)
                .is_ok_and(|meta| vm.has_open(&meta) != Some(true) && !user.may(&meta, READ_WRITE))
        });
    if let Some(path) = refused {
        faults.push(Fault::FifoAccess { guest: guest.to_string(), path, uid: user.uid });
    }
    let socket = dir.agent_socket();
    if fs::metadata(&socket).is_ok_and(|meta| !user.may(&meta, WRITE)) {
        faults.push(Fault::SocketAccess { path: socket, uid: user.uid });
    }
}
