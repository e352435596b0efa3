//! What the host's own kernel can trace.

use std::path::Path;

use super::Fault;

pub(super) fn examine(tracing: &Path, kvm: bool, faults: &mut Vec<Fault>) {
    if !tracing.join("events").is_dir() {
        faults.push(Fault::NoTracefs { path: tracing.to_owned() });
    } else if kvm && !tracing.join("events/kvm").is_dir() {
        faults.push(Fault::NoKvmEvents { path: tracing.to_owned() });
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
}
