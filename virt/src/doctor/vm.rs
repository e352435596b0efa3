//! The QEMU process of a guest, as `/proc` shows it.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::identity;
use crate::setup::GuestName;

/// A QEMU process; what may not be looked at is `None`.
#[derive(Debug, Default)]
pub(super) struct Vm {
    pub(super) pid: i32,
    pub(super) user: Option<User>,
    /// From the name of a port to the id of its chardev.
    pub(super) ports: BTreeMap<String, String>,
    /// From id to what the command line says.
    pub(super) chardevs: BTreeMap<String, Chardev>,
    /// Device and inode of what it has open.
    pub(super) open: Option<HashSet<(u64, u64)>>,
    /// As far as its threads have names.
    pub(super) vcpus: Option<u32>,
    /// Whether it uses `/dev/kvm`.
    pub(super) kvm: bool,
    /// AppArmor's or SELinux's word, where it confines.
    pub(super) confinement: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chardev {
    pub(super) kind: String,
    pub(super) path: Option<String>,
    pub(super) reconnects: bool,
}

/// The user that a process is.
#[derive(Debug, Clone, Default)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gids: Vec<u32>,
}

impl User {
    /// Whether it has all of these permission bits (4 read, 2 write, 1 search).
    pub(super) fn may(&self, meta: &fs::Metadata, bits: u32) -> bool {
        let shift = if self.uid == meta.uid() {
            6
        } else if self.gids.contains(&meta.gid()) {
            3
        } else {
            0
        };
        self.uid == 0 || (meta.mode() >> shift) & bits == bits
    }
}

/// All QEMU processes that run a guest of this name.
pub(super) fn find(proc: &Path, guest: &GuestName) -> Vec<Vm> {
    let pids = identity::processes(proc);
    let mut vms: Vec<_> = pids.filter_map(|pid| read(proc, pid, guest)).collect();
    vms.sort_by_key(|vm| vm.pid);
    vms
}

fn read(proc: &Path, pid: i32, guest: &GuestName) -> Option<Vm> {
    let dir = proc.join(pid.to_string());
    let command_line = fs::read(dir.join("cmdline")).ok()?;
    let words: Vec<&[u8]> = command_line.split(|&byte| byte == 0).collect();
    // Any program may have a word "-name".
    let program = String::from_utf8_lossy(words.first()?);
    let program = program.rsplit('/').next().unwrap_or_default();
    if !(program.contains("qemu") || program.contains("kvm"))
        || identity::name_option(&words).as_deref() != Some(guest.as_str())
    {
        return None;
    }
    let mut vm = Vm { pid, ..Vm::default() };
    for pair in words.windows(2) {
        let [option, value] = pair else { continue };
        let Ok(value) = std::str::from_utf8(value) else { continue };
        match *option {
            b"-chardev" | b"--chardev" => vm.add_chardev(value),
            b"-device" | b"--device" => vm.add_device(value),
            _ => {}
        }
    }
    vm.user = fs::read_to_string(dir.join("status")).ok().and_then(|text| user_in(&text));
    vm.read_open(&dir.join("fd"));
    vm.vcpus = vcpus(&dir.join("task"));
    vm.confinement = fs::read_to_string(dir.join("attr/current")).ok().and_then(|t| confined(&t));
    Some(vm)
}

impl Vm {
    fn add_chardev(&mut self, value: &str) {
        let (kind, mut properties) = identity::properties(value);
        let reconnect = ["reconnect", "reconnect-ms"].map(|key| properties.remove(key));
        let reconnects = reconnect.into_iter().flatten().any(|time| time != "0");
        let chardev = Chardev { kind, path: properties.remove("path"), reconnects };
        if let Some(id) = properties.remove("id") {
            self.chardevs.insert(id, chardev);
        }
    }

    fn add_device(&mut self, value: &str) {
        let (driver, mut properties) = identity::properties(value);
        if driver == "virtserialport"
            && let (Some(name), Some(chardev)) =
                (properties.remove("name"), properties.remove("chardev"))
        {
            self.ports.insert(name, chardev);
        }
    }

    fn read_open(&mut self, dir: &Path) {
        let Ok(entries) = fs::read_dir(dir) else { return };
        let mut open = HashSet::new();
        for entry in entries.flatten() {
            if let Ok(meta) = fs::metadata(entry.path()) {
                open.insert((meta.dev(), meta.ino()));
            }
            let target = fs::read_link(entry.path()).unwrap_or_default();
            self.kvm |= target == Path::new("anon_inode:kvm-vm");
        }
        self.open = Some(open);
    }

    /// Whether it has a file open; `None` where that may not be seen.
    pub(super) fn has_open(&self, meta: &fs::Metadata) -> Option<bool> {
        self.open.as_ref().map(|open| open.contains(&(meta.dev(), meta.ino())))
    }
}

fn user_in(status: &str) -> Option<User> {
    let numbers = |key| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        Some(
            line.split_whitespace().filter_map(|word| word.parse::<u32>().ok()).collect::<Vec<_>>(),
        )
    };
    // Real, effective, saved, and the one that counts for files.
    let uid = *numbers("Uid:")?.get(3)?;
    let mut gids = vec![*numbers("Gid:")?.get(3)?];
    gids.extend(numbers("Groups:").unwrap_or_default());
    Some(User { uid, gids })
}

/// Threads called `CPU 0/KVM`, `CPU 1/TCG` …, as with `debug-threads=on`.
fn vcpus(tasks: &Path) -> Option<u32> {
    let entries = fs::read_dir(tasks).ok()?.flatten();
    let names = entries.filter_map(|entry| fs::read_to_string(entry.path().join("comm")).ok());
    let count = names.filter(|name| name.starts_with("CPU ") && name.contains('/')).count();
    u32::try_from(count).ok().filter(|&count| count > 0)
}

fn confined(word: &str) -> Option<String> {
    let word = word.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    // SELinux: the contexts for VMs. AppArmor: a profile and how it is meant.
    let selinux = word.contains(":svirt");
    (selinux || word.ends_with("(enforce)")).then(|| crate::protocol::clean(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_in_both_forms() {
        let mut vm = Vm::default();
        vm.add_chardev("socket,id=c0,path=/a,,b/agent-ctl-path,reconnect=1");
        vm.add_chardev("pipe,id=c1,path=/a/p");
        vm.add_device("virtserialport,bus=s.0,chardev=c0,name=agent-ctl-path");
        vm.add_device(
            r#"{"driver":"virtserialport","nr":2,"chardev":"c1","name":"trace-path-cpu0"}"#,
        );
        vm.add_device("virtio-serial-pci,id=s");
        assert_eq!(vm.chardevs["c0"].path.as_deref(), Some("/a,b/agent-ctl-path"));
        assert!(vm.chardevs["c0"].reconnects && !vm.chardevs["c1"].reconnects);
        let ports: Vec<_> = vm.ports.into_iter().collect();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(ports, [pair("agent-ctl-path", "c0"), pair("trace-path-cpu0", "c1")]);
    }

    #[test]
    fn confinement_is_told_from_its_absence() {
        assert_eq!(confined("unconfined\n"), None);
        assert_eq!(confined("libvirt-1234 (complain)\n"), None);
        assert!(confined("libvirt-1234 (enforce)\n").is_some());
        assert!(confined("system_u:system_r:svirt_t:s0:c1,c2\0").is_some());
    }
}
