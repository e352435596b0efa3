//! What KVM tells in debugfs of a process' virtual machines.

use std::fs;
use std::path::{Path, PathBuf};

/// A virtual machine of KVM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvmVm {
    /// Its CPUs and their directories, in order.
    vcpus: Vec<(u32, PathBuf)>,
}

/// How a CPU's time stamp counter follows from the host's: `guest = (host × ratio >> fraction_bits) + offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TscOfVcpu {
    /// Added to the scaled counter of the host, in the guest's ticks.
    pub offset: i64,
    /// Factor, a fixed-point number; 1 without scaling.
    pub ratio: u64,
    /// Bits of `ratio` after the point; 0 without scaling.
    pub fraction_bits: u32,
}

/// What KVM tells cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KvmError {
    /// A file cannot be read.
    #[error("reading {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file has no number.
    #[error("{} has {text:?}, no number that can be", path.display())]
    NoNumber {
        /// Which.
        path: PathBuf,
        /// What it has.
        text: String,
    },
}

impl KvmVm {
    /// Where a machine's debugfs has it.
    pub const DEBUGFS: &str = "/sys/kernel/debug/kvm";

    /// The machines of a process; none where `debugfs` is not there or not ours to read.
    #[must_use]
    pub fn of_process(debugfs: &Path, pid: i32) -> Vec<Self> {
        let start = format!("{pid}-");
        let entries = fs::read_dir(debugfs).into_iter().flatten().flatten();
        let vms = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&start));
        vms.map(|entry| Self::in_directory(&entry.path())).collect()
    }

    fn in_directory(path: &Path) -> Self {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let mut vcpus: Vec<_> = entries
            .filter_map(|entry| {
                let cpu = entry.file_name().to_str()?.strip_prefix("vcpu")?.parse().ok()?;
                Some((cpu, entry.path()))
            })
            .collect();
        vcpus.sort_unstable();
        Self { vcpus }
    }

    /// CPUs and the threads that run them, as far as this kernel tells.
    pub fn threads(&self) -> impl Iterator<Item = (u32, i32)> {
        self.vcpus.iter().filter_map(|(cpu, path)| {
            let thread: i32 = number(&path.join("pid")).ok()?;
            (thread > 0).then_some((*cpu, thread))
        })
    }

    /// The counter of each CPU, in order of their numbers.
    ///
    /// # Errors
    ///
    /// A file cannot be read or has no number, as on machines that are not x86.
    pub fn counters(&self) -> Result<Vec<(u32, TscOfVcpu)>, KvmError> {
        self.vcpus.iter().map(|(cpu, path)| Ok((*cpu, TscOfVcpu::read(path)?))).collect()
    }
}

impl TscOfVcpu {
    fn read(vcpu: &Path) -> Result<Self, KvmError> {
        let offset = number(&vcpu.join("tsc-offset"))?;
        let ratio = vcpu.join("tsc-scaling-ratio");
        if !ratio.exists() {
            return Ok(Self { offset, ratio: 1, fraction_bits: 0 });
        }
        let bits_path = vcpu.join("tsc-scaling-ratio-frac-bits");
        let fraction_bits: u32 = number(&bits_path)?;
        let scaling: u64 = number(&ratio)?;
        if fraction_bits > 63 {
            return Err(KvmError::NoNumber { path: bits_path, text: fraction_bits.to_string() });
        }
        if scaling == 0 {
            return Err(KvmError::NoNumber { path: ratio, text: "0".to_owned() });
        }
        if scaling == 1 << fraction_bits {
            return Ok(Self { offset, ratio: 1, fraction_bits: 0 });
        }
        Ok(Self { offset, ratio: scaling, fraction_bits })
    }
}

fn number<N: std::str::FromStr>(path: &Path) -> Result<N, KvmError> {
    let text = fs::read_to_string(path)
        .map_err(|source| KvmError::Read { path: path.to_owned(), source })?;
    // Some kernels end it with a NUL.
    let text = text.trim_end_matches('\0').trim();
    text.parse().map_err(|_| KvmError::NoNumber { path: path.to_owned(), text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vcpu(debugfs: &Path, vm: &str, cpu: u32, files: &[(&str, &str)]) {
        let path = debugfs.join(vm).join(format!("vcpu{cpu}"));
        fs::create_dir_all(&path).unwrap();
        for (name, text) in files {
            fs::write(path.join(name), format!("{text}\n")).unwrap();
        }
    }

    #[test]
    fn machines_are_those_of_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        vcpu(path, "41-11", 1, &[("pid", "52"), ("tsc-offset", "-7")]);
        vcpu(path, "41-11", 0, &[("pid", "51"), ("tsc-offset", "9")]);
        vcpu(path, "411-11", 0, &[("pid", "61")]);
        let [vm] = &KvmVm::of_process(path, 41)[..] else { panic!("one machine") };
        assert_eq!(vm.threads().collect::<Vec<_>>(), [(0, 51), (1, 52)]);
        let plain = |offset| TscOfVcpu { offset, ratio: 1, fraction_bits: 0 };
        assert_eq!(vm.counters().unwrap(), [(0, plain(9)), (1, plain(-7))]);
        let error = KvmVm::of_process(path, 411)[0].counters().unwrap_err().to_string();
        assert!(error.ends_with("vcpu0/tsc-offset"), "{error}");
        assert_eq!(KvmVm::of_process(&path.join("none"), 41), []);
    }

    #[test]
    fn a_ratio_of_one_is_no_scaling() {
        let dir = tempfile::tempdir().unwrap();
        let scaled = |ratio, bits| {
            [
                ("tsc-offset", "5"),
                ("tsc-scaling-ratio", ratio),
                ("tsc-scaling-ratio-frac-bits", bits),
            ]
        };
        vcpu(dir.path(), "1-1", 0, &scaled("281474976710656", "48"));
        vcpu(dir.path(), "1-1", 1, &scaled("422212465065984", "48"));
        let read = KvmVm::of_process(dir.path(), 1)[0].counters().unwrap();
        assert_eq!(read[0].1, TscOfVcpu { offset: 5, ratio: 1, fraction_bits: 0 });
        assert_eq!(read[1].1, TscOfVcpu { offset: 5, ratio: 3 << 47, fraction_bits: 48 });
        for (ratio, bits) in [("0", "48"), ("5", "64"), ("x", "48")] {
            vcpu(dir.path(), "2-1", 0, &scaled(ratio, bits));
            assert!(KvmVm::of_process(dir.path(), 2)[0].counters().is_err(), "{ratio} {bits}");
        }
    }
}
