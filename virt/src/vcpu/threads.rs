//! Threads by the names that QEMU gives them.

use std::fs;
use std::path::Path;

/// CPUs and threads of a process, as `CPU 3/KVM` and `ALL CPUs/TCG` name them; empty without QEMU's `debug-threads=on`.
/// `proc` is where `/proc` is.
#[must_use]
pub fn named_threads(proc: &Path, pid: i32, cpus: u32) -> Vec<(u32, i32)> {
    let tasks = fs::read_dir(proc.join(pid.to_string()).join("task"));
    let mut found = Vec::new();
    for task in tasks.into_iter().flatten().flatten() {
        let Some(thread) = task.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(comm) = fs::read_to_string(task.path().join("comm")) else { continue };
        match cpus_of(comm.trim_end()) {
            Some(Cpus::One(cpu)) => found.push((cpu, thread)),
            Some(Cpus::All) => found.extend((0..cpus).map(|cpu| (cpu, thread))),
            None => {}
        }
    }
    found.sort_unstable();
    found
}

#[derive(Debug, PartialEq, Eq)]
enum Cpus {
    One(u32),
    All,
}

fn cpus_of(comm: &str) -> Option<Cpus> {
    let (name, _accel) = comm.split_once('/')?;
    match name.strip_prefix("CPU ") {
        Some(number) => number.parse().ok().map(Cpus::One),
        None => (name == "ALL CPUs").then_some(Cpus::All),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_cpu() {
        for (comm, cpus) in [
            ("CPU 0/KVM", Some(Cpus::One(0))),
            ("CPU 17/TCG", Some(Cpus::One(17))),
            ("ALL CPUs/TCG", Some(Cpus::All)),
            ("CPU x/KVM", None),
            ("qemu-system-x86", None),
            ("CPU 1", None),
        ] {
            assert_eq!(cpus_of(comm), cpus, "{comm}");
        }
    }

    #[test]
    fn threads_are_looked_for_in_their_process() {
        let proc = tempfile::tempdir().unwrap();
        for (thread, comm) in [(41, "qemu-system-x86"), (43, "CPU 1/KVM"), (44, "CPU 0/KVM")] {
            let task = proc.path().join(format!("41/task/{thread}"));
            fs::create_dir_all(&task).unwrap();
            fs::write(task.join("comm"), format!("{comm}\n")).unwrap();
        }
        assert_eq!(named_threads(proc.path(), 41, 2), [(0, 44), (1, 43)]);
        assert_eq!(named_threads(proc.path(), 42, 2), []);
    }
}
