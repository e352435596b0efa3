//! Which thread of the host runs which CPU of a guest.
//!
//! ```text
//! QEMU (the server knows it by its socket) ─► QMP's answer          (told: it knows)
//!                                          ├─► KVM's debugfs          vcpuN/pid
//!                                          └─► names of its threads   CPU N/KVM
//! ```
//!
//! The first source that knows a CPU counts. Where none does (an old kernel, QEMU without `debug-threads=on`), the host's
//! trace still tells, by its events of `kvm`.

mod kvm;
mod threads;
mod tsc;

pub use kvm::{KvmError, KvmVm, TscOfVcpu};
pub use threads::named_threads;
pub use tsc::TscToHost;

use std::collections::BTreeMap;
use std::path::Path;

/// The host's threads that run a guest's CPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VcpuThreads(BTreeMap<u32, i32>);

impl VcpuThreads {
    /// Asks KVM, and then the names of the threads, for the guest with these CPUs that a process runs.
    #[must_use]
    pub fn of_process(pid: i32, cpus: u32) -> Self {
        let mut found = Self::default();
        let vms = KvmVm::of_process(Path::new(KvmVm::DEBUGFS), pid);
        found.add(vms.iter().flat_map(KvmVm::threads));
        found.add(named_threads(Path::new("/proc"), pid, cpus));
        found.0.retain(|cpu, _| *cpu < cpus);
        found
    }

    /// Adds threads of CPUs that are not known yet, such as those that QMP tells.
    pub fn add(&mut self, threads: impl IntoIterator<Item = (u32, i32)>) {
        for (cpu, thread) in threads {
            self.0.entry(cpu).or_insert(thread);
        }
    }

    /// The thread of a CPU.
    #[must_use]
    pub fn get(&self, cpu: u32) -> Option<i32> {
        self.0.get(&cpu).copied()
    }

    /// CPUs and their threads, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, i32)> {
        self.0.iter().map(|(cpu, thread)| (*cpu, *thread))
    }

    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(u32, i32)> for VcpuThreads {
    fn from_iter<I: IntoIterator<Item = (u32, i32)>>(threads: I) -> Self {
        let mut all = Self::default();
        all.add(threads);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_first_counts() {
        let mut threads: VcpuThreads = [(1, 41)].into_iter().collect();
        threads.add([(0, 50), (1, 51)]);
        assert_eq!(threads.iter().collect::<Vec<_>>(), [(0, 50), (1, 41)]);
        assert_eq!((threads.get(1), threads.get(2), threads.len()), (Some(41), None, 2));
    }
}
