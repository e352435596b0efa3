//! What the host's own kernel can trace, and its emulator stands.

use std::path::Path;

use super::Fault;
use super::vm::Vm;
use crate::qmp::QemuVersion;

/// Where the emulator learned that one vCPU may patch what another runs.
const CODE_IS_FRESH: QemuVersion = QemuVersion { major: 8, minor: 1 };

pub(super) fn examine(tracing: &Path, kvm: bool, faults: &mut Vec<Fault>) {
    if !tracing.join("events").is_dir() {
        faults.push(Fault::NoTracefs { path: tracing.to_owned() });
    } else if kvm && !tracing.join("events/kvm").is_dir() {
        faults.push(Fault::NoKvmEvents { path: tracing.to_owned() });
    }
}

/// Without KVM, several vCPUs want a newer QEMU.
pub(super) fn examine_emulator(vm: &Vm, qemu: QemuVersion, faults: &mut Vec<Fault>) {
    if let Some(vcpus) = vm.vcpus
        && vcpus > 1
        && !vm.kvm
        && qemu < CODE_IS_FRESH
    {
        faults.push(Fault::StaleCode { qemu, vcpus });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kvm_events_are_missed_where_kvm_is_used() {
        let temp = tempfile::tempdir().unwrap();
        let found = |kvm| {
            let mut faults = Vec::new();
            examine(temp.path(), kvm, &mut faults);
            faults.iter().map(Fault::id).collect::<Vec<_>>()
        };
        assert_eq!(found(true), ["no-tracefs"]);
        std::fs::create_dir(temp.path().join("events")).unwrap();
        assert_eq!(found(true), ["no-kvm-events"]);
        assert!(found(false).is_empty());
        std::fs::create_dir(temp.path().join("events/kvm")).unwrap();
        assert!(found(true).is_empty());
    }

    #[test]
    fn old_emulators_of_several_vcpus_are_named() {
        let found = |vm: Vm, major, minor| {
            let mut faults = Vec::new();
            examine_emulator(&vm, QemuVersion { major, minor }, &mut faults);
            faults.iter().map(|fault| (fault.id(), fault.is_warning())).collect::<Vec<_>>()
        };
        let vm = |vcpus, kvm| Vm { vcpus, kvm, ..Vm::default() };
        assert_eq!(found(vm(Some(2), false), 7, 2), [("stale-code", true)]);
        assert_eq!(found(vm(Some(2), false), 8, 0), [("stale-code", true)]);
        for (vm, major, minor) in [
            (vm(Some(2), false), 8, 1),
            (vm(Some(2), false), 10, 0),
            (vm(Some(2), true), 7, 2),
            (vm(Some(1), false), 7, 2),
            (vm(None, false), 7, 2),
        ] {
            assert!(found(vm, major, minor).is_empty());
        }
    }
}
