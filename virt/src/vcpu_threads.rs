//! Which threads of the host run a guest's CPUs.

use std::fs;
use std::path::Path;

/// A thread of a QEMU process that runs a virtual CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct VcpuThread {
    /// The CPU, as the guest counts.
    pub cpu: u32,
    /// The thread, as the host counts.
    pub tid: i32,
}

/// The virtual CPUs of a process, in their order. QEMU names its threads `CPU n/KVM` or `CPU n/TCG` where it was
/// started with `-name …,debug-threads=on`, as libvirt does; with KVM the kernel knows them without, for root.
/// None are found of a QEMU that emulates and names nothing.
#[must_use]
pub fn vcpu_threads(pid: i32) -> Vec<VcpuThread> {
    let named = by_name(&Path::new("/proc").join(pid.to_string()).join("task"));
    if !named.is_empty() {
        return named;
    }
    by_kvm(Path::new("/sys/kernel/debug/kvm"), pid)
}

fn by_name(tasks: &Path) -> Vec<VcpuThread> {
    let entries = fs::read_dir(tasks).into_iter().flatten().flatten();
    let mut threads: Vec<_> = entries
        .filter_map(|entry| {
            let name = fs::read_to_string(entry.path().join("comm")).ok()?;
            let (cpu, kind) = name.trim_end().strip_prefix("CPU ")?.split_once('/')?;
            let tid = entry.file_name().to_str()?.parse().ok()?;
            matches!(kind, "KVM" | "TCG" | "HVF" | "XEN")
                .then_some(VcpuThread { cpu: cpu.parse().ok()?, tid })
        })
        .collect();
    threads.sort_unstable();
    threads.dedup_by_key(|thread| thread.cpu);
    threads
}

/// `PID-FD/vcpuN/pid` names the thread, since Linux 5.17.
fn by_kvm(kvm: &Path, pid: i32) -> Vec<VcpuThread> {
    let entries = fs::read_dir(kvm).into_iter().flatten().flatten();
    let of_process = entries.filter(|entry| {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.split_once('-'));
        owner.is_some_and(|(owner, _)| owner.parse() == Ok(pid))
    });
    let vcpus =
        of_process.flat_map(|machine| fs::read_dir(machine.path()).into_iter().flatten().flatten());
    let mut threads: Vec<_> = vcpus
        .filter_map(|vcpu| {
            let cpu = vcpu.file_name().to_str()?.strip_prefix("vcpu")?.parse().ok()?;
            let tid = fs::read_to_string(vcpu.path().join("pid")).ok()?.trim().parse().ok()?;
            Some(VcpuThread { cpu, tid })
        })
        .collect();
    threads.sort_unstable();
    threads
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(dir: &Path, file: &str, text: &str) {
        let path = dir.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn threads_are_known_by_qemus_names() {
        let dir = tempfile::tempdir().unwrap();
        for (tid, name) in [
            ("40", "qemu-system-x86"),
            ("43", "CPU 10/KVM"),
            ("41", "CPU 0/KVM"),
            ("42", "CPU 1/TCG"),
            ("44", "CPU x/KVM"),
            ("45", "CPU 2/worker"),
            ("46", "call_rcu"),
        ] {
            put(dir.path(), &format!("{tid}/comm"), &format!("{name}\n"));
        }
        let found: Vec<_> = by_name(dir.path()).iter().map(|one| (one.cpu, one.tid)).collect();
        assert_eq!(found, [(0, 41), (1, 42), (10, 43)]);
        assert!(by_name(&dir.path().join("gone")).is_empty());
    }

    #[test]
    fn without_names_kvm_tells() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "77-12/vcpu1/pid", "102\n");
        put(dir.path(), "77-12/vcpu0/pid", "101\n");
        put(dir.path(), "77-12/exits", "5\n");
        put(dir.path(), "7-3/vcpu0/pid", "1\n");
        let found: Vec<_> = by_kvm(dir.path(), 77).iter().map(|one| (one.cpu, one.tid)).collect();
        assert_eq!(found, [(0, 101), (1, 102)]);
        assert!(by_kvm(dir.path(), 78).is_empty());
    }
}
